package containers

import (
	"kdiag/kube"
	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
)

// PreviewShell returns the request by which "shell" would add a container
// beside a target, to ask the cluster about it without adding one. user is the
// public half of the user's key; it may be empty.
func PreviewShell(r Request, user string, target kube.TargetContainer) kube.ShellRequest {
	manager := r.manager()
	manager.User, manager.Role, manager.Target, manager.Profile = user, wire.RoleShell, target.Container, kube.ProfileAuto
	return kube.ShellRequest{Target: target, Image: r.Image, PullPolicy: r.PullPolicy, Manager: manager}
}

// PreviewNet returns the request by which "redir" would add a container, as
// PreviewShell does.
func PreviewNet(r Request, user string, pod *corev1.Pod) kube.NetRequest {
	manager := r.manager()
	manager.User = user
	return kube.NetRequest{Pod: pod, Image: r.Image, PullPolicy: r.PullPolicy, Manager: manager}
}
