package kube

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// podInitializing is the kubelet's reason for a container that waits for init containers.
const podInitializing = "PodInitializing"

// isBehindInit reports whether a container waits for init containers. The status may be nil.
func isBehindInit(status *corev1.ContainerStatus) bool {
	return status != nil && status.State.Waiting != nil && status.State.Waiting.Reason == podInitializing
}

// findAwaitedInit returns the name of the init container that a container waits for, and "" if none is
// left to wait for. The kubelet starts init containers one after the other, so those before one that
// was started have done their part, even a sidecar that is down again.
func findAwaitedInit(pod *corev1.Pod, name string) string {
	awaited := ""
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if c.Name == name {
			break
		}

		status := findStatus(pod, c.Name)
		switch {
		case hasInitialized(c, status):
			awaited = ""
		case awaited == "", status != nil && !isBehindInit(status):
			awaited = c.Name
		}
	}
	return awaited
}

// hasInitialized reports whether an init container lets the next one start.
func hasInitialized(c *corev1.Container, status *corev1.ContainerStatus) bool {
	switch {
	case status == nil:
		return false
	case isSidecar(*c):
		return status.Started != nil && *status.Started
	}
	return status.State.Terminated != nil && status.State.Terminated.ExitCode == 0
}

// isInitOnItsWay reports whether the init container that a container waits for, if any, runs or is
// going to.
func isInitOnItsWay(pod *corev1.Pod, container string) bool {
	awaited := findAwaitedInit(pod, container)
	status := findStatus(pod, awaited)
	return awaited == "" || status == nil || status.State.Running != nil || isGoingToStart(pod, awaited, status)
}

// describeAwaitedInit says what the init container does that a container waits for, and returns "" if
// it waits for none.
func describeAwaitedInit(pod *corev1.Pod, container string) string {
	awaited := findAwaitedInit(pod, container)
	status := findStatus(pod, awaited)
	c, _ := findInSpec(pod, awaited)
	switch {
	case status == nil || c == nil:
		return ""
	case status.State.Running != nil && isSidecar(*c):
		return fmt.Sprintf("init container %s is starting", awaited)
	case status.State.Running != nil:
		return fmt.Sprintf("init container %s is running", awaited)
	}
	return fmt.Sprintf("init container %s: %s", awaited, describeNotRunning(pod, status))
}
