package containers

import (
	"context"
	"fmt"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/units"
	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
)

const (
	// neededMemory is what kdiag takes of the pod's memory at most when it starts, with what the
	// runtime takes to start it: 6 MiB, measured, and a third of that to spare.
	neededMemory = 8 << 20
	// uncertainLimit is the limit below which a pod may not have that, as long as nobody knows what
	// it uses.
	uncertainLimit = 3 * neededMemory
)

// memoryReader is an API that may know what memory a pod uses.
type memoryReader interface {
	MemoryUsage(ctx context.Context, namespace, pod string) (bytes int64, ok bool)
}

// checkMemory refuses to start anything in a pod whose memory limit leaves kdiag too little: the
// kernel would kill whichever process is the largest, which is the application's.
func (r Request) checkMemory(ctx context.Context, api API, pod *corev1.Pod) error {
	limit := kube.MemoryLimit(pod)
	if limit == 0 || r.Force {
		return nil
	}

	needed, uncertain := neededMemory+r.ExtraMemory, uncertainLimit+r.ExtraMemory
	var used int64
	known := false
	if reader, ok := api.(memoryReader); ok && limit < smallLimit+2*r.ExtraMemory {
		used, known = reader.MemoryUsage(ctx, pod.Namespace, pod.Name)
	}

	switch {
	case known && limit-used < needed:
		return refuseMemory(pod, limit, needed, fmt.Sprintf("and uses %s", units.Size(used)))
	case !known && limit < uncertain:
		return refuseMemory(pod, limit, needed, "and the cluster does not say what it uses")
	}
	return nil
}

// smallLimit is the limit from which on nobody asks what the pod uses.
const smallLimit = 64 << 20

// refuseMemory says what would happen.
func refuseMemory(pod *corev1.Pod, limit, needed int64, uses string) error {
	err := fmt.Errorf("pod %s/%s is limited to %s of memory %s: kdiag needs up to %s of it, "+
		"and the kernel may kill the application for that",
		pod.Namespace, pod.Name, units.Size(limit), uses, units.Size(needed))
	return applets.WithHint(err, "raise the pod's memory limit, or use --force to go on")
}
