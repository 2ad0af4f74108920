package kube

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// CheckTakesContainers is nil for a pod that kdiag's containers can be added to. It
// goes by what the pod says of itself, so that no request is made in vain.
func CheckTakesContainers(pod *corev1.Pod) error {
	doing := "add a container to pod " + pod.Namespace + "/" + pod.Name
	switch {
	case isStatic(pod):
		return &Error{Doing: doing, Err: errors.New("static pods do not support ephemeral containers"),
			Next: fmt.Sprintf("create a pod with the same spec through the API server, or debug the node: kubectl debug node/%s -it --image=IMAGE", pod.Spec.NodeName)}
	case isWindows(pod):
		return &Error{Doing: doing, Err: errors.New("Windows pods are not supported"),
			Next: "use 'kubectl debug' with a Windows image"}
	}
	return nil
}

// isStatic reports whether a pod is the API server's mirror of a static one. By
// the same annotation that refuses every ephemeral container
// (ValidatePodEphemeralContainersUpdate in k8s.io/kubernetes).
func isStatic(pod *corev1.Pod) bool {
	_, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]
	return mirror
}

// isWindows goes by what a pod says (KEP-2802), else by the nodes that it
// chooses, as pods did before 1.25.
func isWindows(pod *corev1.Pod) bool {
	if pod.Spec.OS != nil {
		return pod.Spec.OS.Name == corev1.Windows
	}
	return pod.Spec.NodeSelector[corev1.LabelOSStable] == string(corev1.Windows)
}

// checkUp is nil for a pod whose sandbox is there, so that a container which is
// added to it starts: it runs, or at least one of its init containers does.
func checkUp(pod *corev1.Pod) error {
	doing := "add a container to pod " + pod.Namespace + "/" + pod.Name
	next := fmt.Sprintf("run 'kubectl describe pod -n %s %s' for details", pod.Namespace, pod.Name)
	switch {
	case pod.DeletionTimestamp != nil:
		return &Error{Doing: doing, Err: errors.New("the pod is being deleted")}
	case pod.Status.Phase == corev1.PodSucceeded, pod.Status.Phase == corev1.PodFailed:
		return &Error{Doing: doing, Err: fmt.Errorf("the pod has finished: %s", describeEnd(pod)), Next: next}
	case pod.Status.Phase != corev1.PodPending:
		return nil
	}

	for _, c := range ContainersOf(pod) {
		if status := findStatus(pod, c.Name); status != nil && status.State.Running != nil {
			return nil
		}
	}

	return &Error{Doing: doing, Err: fmt.Errorf("the pod is not running: %s", describeWaiting(pod)), Next: next}
}

// describeEnd is what is known of a pod's end.
func describeEnd(pod *corev1.Pod) string {
	for _, c := range ContainersOf(pod) {
		status := findStatus(pod, c.Name)
		if status != nil && status.State.Terminated != nil && (status.State.Terminated.ExitCode != 0 || pod.Status.Phase == corev1.PodSucceeded) {
			return "container " + c.Name + ": " + describeNotRunning(pod, status)
		}
	}
	return joinReason(string(pod.Status.Phase), pod.Status.Reason, pod.Status.Message)
}

// describeWaiting is what a pod waits for that has no container running yet.
func describeWaiting(pod *corev1.Pod) string {
	for _, c := range ContainersOf(pod) {
		status := findStatus(pod, c.Name)
		if status != nil && status.State.Waiting != nil {
			return "container " + c.Name + ": " + describeNotRunning(pod, status)
		}
	}
	return describeNotRunning(pod, nil)
}
