package kube

import corev1 "k8s.io/api/core/v1"

// MemoryLimit returns the memory limit of a pod's own cgroup, in bytes; 0 if it has none. An
// ephemeral container has no limits, so this is the only one that holds for it. It is the pod's, or
// else the sum of its containers' if each has one, as the kubelet makes it
// (pkg/kubelet/cm/helpers_linux.go, ResourceConfigForPod).
func MemoryLimit(pod *corev1.Pod) int64 {
	if pod.Spec.Resources != nil {
		if limit, ok := pod.Spec.Resources.Limits[corev1.ResourceMemory]; ok {
			return limit.Value()
		}
	}

	running, ok := sumLimits(pod.Spec.Containers)
	if !ok {
		return 0
	}

	// Before the containers, init containers run one by one, beside the sidecars that were started.
	var sidecars, starting int64
	for _, c := range pod.Spec.InitContainers {
		limit, ok := limitOf(c)
		if !ok {
			return 0
		}
		if isSidecar(c) {
			sidecars += limit
			limit = 0
		}
		starting = max(starting, sidecars+limit)
	}

	return max(running+sidecars, starting)
}

// sumLimits adds the memory limits of containers up. ok is false if one has none.
func sumLimits(containers []corev1.Container) (sum int64, ok bool) {
	for _, c := range containers {
		limit, ok := limitOf(c)
		if !ok {
			return 0, false
		}
		sum += limit
	}
	return sum, true
}

// limitOf returns a container's memory limit.
func limitOf(c corev1.Container) (limit int64, ok bool) {
	quantity, ok := c.Resources.Limits[corev1.ResourceMemory]
	return quantity.Value(), ok && !quantity.IsZero()
}

// isSidecar reports whether an init container runs as long as the pod.
func isSidecar(c corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}
