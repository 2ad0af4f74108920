package containers

import (
	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
)

// PreviewShell returns the request by which "shell" would add a container
// beside a target, to ask the cluster about it without adding one. user is the
// public half of the user's key; it may be empty.
func PreviewShell(r Request, user string, target kube.TargetContainer) kube.ShellRequest {
	r.Profile = kube.ProfileAuto
	return r.shellRequest(user, target)
}

// PreviewNet returns the request by which "redir" would add a container, as
// PreviewShell does.
func PreviewNet(r Request, user string, pod *corev1.Pod) kube.NetRequest {
	return kube.NetRequest{Pod: pod, ManagerContainer: r.managerContainer(user)}
}

// PreviewCapture returns the request by which "capture" would add a container, as
// PreviewShell does.
func PreviewCapture(r Request, user string, pod *corev1.Pod) kube.CaptureRequest {
	return kube.CaptureRequest{Pod: pod, ManagerContainer: r.managerContainer(user)}
}
