package kube

import (
	"cmp"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// foreignEphemeral lists the ephemeral containers of a pod that are not kdiag's and run.
func foreignEphemeral(pod *corev1.Pod) []string {
	var names []string
	for i := range pod.Spec.EphemeralContainers {
		container := &pod.Spec.EphemeralContainers[i]
		status := findStatus(pod, container.Name)
		if _, ours := parseManager(container); !ours && status != nil && status.State.Running != nil {
			names = append(names, container.Name)
		}
	}
	return names
}

// findNeighbour returns the container beside which the processes of an ephemeral container can be
// seen. Kubernetes lets none be added beside an ephemeral container itself (KEP-277,
// targetContainerName), so its PID namespace must be another container's, too.
func findNeighbour(doing string, pod *corev1.Pod, ephemeral *corev1.EphemeralContainer) (string, error) {
	if _, ours := parseManager(ephemeral); ours {
		return "", &Error{Doing: doing, Err: errors.New("it is one of kdiag's own containers"), Next: "name the container that you want to look at with -c"}
	}

	neighbour := ephemeral.TargetContainerName
	if sharesPIDs(pod) {
		first, _ := pickDefaultContainer(pod)
		neighbour = cmp.Or(neighbour, first)
	}
	if neighbour == "" {
		return "", &Error{Doing: doing,
			Err:  errors.New("it is an ephemeral container with processes of its own, and Kubernetes lets no other container join those"),
			Next: fmt.Sprintf("if it has a shell: kubectl exec -it -n %s %s -c %s -- sh", pod.Namespace, pod.Name, ephemeral.Name)}
	}
	return neighbour, nil
}
