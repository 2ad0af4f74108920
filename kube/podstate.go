package kube

import (
	"errors"
	"fmt"

	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
)

// CheckTakesContainers returns an error for a pod that cannot get kdiag's containers. It judges
// by the pod's spec, so that no request is sent in vain.
func CheckTakesContainers(pod *corev1.Pod) error {
	doing := "add a container to pod " + pod.Namespace + "/" + pod.Name
	switch {
	case isStatic(pod):
		return &Error{Doing: doing, Err: errors.New("static pods do not support ephemeral containers"),
			Next: fmt.Sprintf("create a pod with the same spec through the API server, or debug the node: kubectl debug node/%s -it --image=IMAGE", pod.Spec.NodeName)}
	case isWindows(pod):
		return &Error{Doing: doing, Err: errors.New("kdiag does not support Windows pods"),
			Next: "use 'kubectl debug' with a Windows image"}
	}
	return nil
}

// isStatic reports whether a pod is the API server's mirror of a static pod. The API server
// goes by the same annotation (ValidatePodEphemeralContainersUpdate in k8s.io/kubernetes).
func isStatic(pod *corev1.Pod) bool {
	_, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]
	return mirror
}

// isWindows reports whether a pod has Windows containers: by its os field (KEP-2802), or by
// its node selector, as pods had it before 1.25.
func isWindows(pod *corev1.Pod) bool {
	if pod.Spec.OS != nil {
		return pod.Spec.OS.Name == corev1.Windows
	}
	return pod.Spec.NodeSelector[corev1.LabelOSStable] == string(corev1.Windows)
}

// checkUp returns an error for a pod without a sandbox, where an added container would not
// start. A pod has one if it runs, or at least one of its init containers does.
func checkUp(pod *corev1.Pod) error {
	doing := "add a container to pod " + pod.Namespace + "/" + pod.Name
	switch {
	case pod.DeletionTimestamp != nil:
		return &Error{Doing: doing, Err: errors.New("no container can be added to a pod that is terminating"), Next: describePodHint(pod)}
	case pod.Status.Phase == corev1.PodSucceeded, pod.Status.Phase == corev1.PodFailed:
		return &Error{Doing: doing, Err: fmt.Errorf("the pod has finished: %s", describeEnd(pod)), Next: describePodHint(pod)}
	case pod.Status.Phase != corev1.PodPending:
		return nil
	}

	for _, c := range ContainersOf(pod) {
		if status := findStatus(pod, c.Name); status != nil && status.State.Running != nil {
			return nil
		}
	}

	return &Error{Doing: doing, Err: fmt.Errorf("the pod is not running: %s", describeWaiting(pod)), Next: describePodHint(pod)}
}

// CheckAcceptsContainers returns an error for a pod that is terminating and has no shell container of
// the user's that could be used in place of a new one.
func CheckAcceptsContainers(pod *corev1.Pod, user string) error {
	if pod.DeletionTimestamp == nil {
		return nil
	}

	for _, m := range FindManagers(pod, user) {
		if status := findStatus(pod, m.Container); m.Role == wire.RoleShell && status != nil && status.State.Running != nil {
			return nil
		}
	}
	return checkUp(pod)
}

// describeEnd says why a pod has ended, as far as its status tells.
func describeEnd(pod *corev1.Pod) string {
	for _, c := range ContainersOf(pod) {
		status := findStatus(pod, c.Name)
		if status != nil && status.State.Terminated != nil && (status.State.Terminated.ExitCode != 0 || pod.Status.Phase == corev1.PodSucceeded) {
			return "container " + c.Name + ": " + describeNotRunning(pod, status)
		}
	}
	return joinReason(string(pod.Status.Phase), pod.Status.Reason, pod.Status.Message)
}

// describeWaiting says what a pod without running containers is waiting for.
func describeWaiting(pod *corev1.Pod) string {
	for _, c := range ContainersOf(pod) {
		status := findStatus(pod, c.Name)
		if status != nil && status.State.Waiting != nil {
			return "container " + c.Name + ": " + describeNotRunning(pod, status)
		}
	}
	return describeNotRunning(pod, nil)
}
