package kube

import (
	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
)

// MemoryLimit returns the memory limit of a pod's own cgroup, in bytes; 0 if it has none. An
// ephemeral container has no limits, so this is the only one that holds for it.
func MemoryLimit(pod *corev1.Pod) int64 {
	return podLimit(pod, corev1.ResourceMemory, func(q apiresource.Quantity) int64 { return q.Value() })
}

// CPULimit returns the CPU limit of a pod's own cgroup, in thousandths of a processor; 0 if it has
// none.
func CPULimit(pod *corev1.Pod) int64 {
	return podLimit(pod, corev1.ResourceCPU, func(q apiresource.Quantity) int64 { return q.MilliValue() })
}

// podLimit returns the limit of a pod's own cgroup: the pod's, or else the sum of its containers' if
// each has one, as the kubelet makes it (pkg/kubelet/cm/helpers_linux.go, ResourceConfigForPod).
func podLimit(pod *corev1.Pod, name corev1.ResourceName, unit func(apiresource.Quantity) int64) int64 {
	if pod.Spec.Resources != nil {
		if limit, ok := pod.Spec.Resources.Limits[name]; ok {
			return unit(limit)
		}
	}

	var running int64
	for _, c := range pod.Spec.Containers {
		limit := unit(c.Resources.Limits[name])
		if limit == 0 {
			return 0
		}
		running += limit
	}

	// Before the containers, init containers run one by one, beside the sidecars that were started.
	var sidecars, starting int64
	for _, c := range pod.Spec.InitContainers {
		limit := unit(c.Resources.Limits[name])
		if limit == 0 {
			return 0
		}
		starting = max(starting, sidecars+limit)
		if isSidecar(c) {
			sidecars += limit
		}
	}

	return max(running+sidecars, starting)
}

// isSidecar reports whether an init container runs as long as the pod.
func isSidecar(c corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}
