package kube

import (
	"slices"
	"strings"
)

// kubeletRefusal begins what a kubelet says of a command that its runtime did not run to an exit code
// (k8s.io/cri-streaming, ServeExec).
const kubeletRefusal = "error executing command in container: "

// beforeStart lists how runtimes say that they did not start a command: by the step that failed in
// containerd (internal/cri/server, execInternal), by the container's state in CRI-O and cri-dockerd.
// There is no code for it.
var beforeStart = []string{
	"failed to load task", "failed to create exec", "failed to start exec", "container is in CONTAINER_EXITED state",
	"container is not created or running", "is not running",
}

// isRefusedByRuntime reports whether a command was not started, most likely because its container had
// ended: the API server learns of that a second or two later.
func isRefusedByRuntime(err error) bool {
	_, said, ok := strings.Cut(err.Error(), kubeletRefusal)
	return ok && slices.ContainsFunc(beforeStart, func(words string) bool { return strings.Contains(said, words) })
}
