package temppod

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// In a container with a limit below smallMemory, kdiag's own program would push itself out of memory
// again and again. It gets addedMemory more.
const (
	smallMemory = 64 << 20
	addedMemory = 32 << 20
)

// giveMemory returns a copy of what a container may use, with memory for kdiag.
func giveMemory(from corev1.ResourceRequirements) corev1.ResourceRequirements {
	given := *from.DeepCopy()
	limit, ok := given.Limits[corev1.ResourceMemory]
	if ok && limit.Value() < smallMemory {
		limit.Add(*resource.NewQuantity(addedMemory, resource.BinarySI))
		given.Limits[corev1.ResourceMemory] = limit
	}
	return given
}

// podResources does what giveMemory does, for what all containers of a pod may use together.
func podResources(from *corev1.ResourceRequirements) *corev1.ResourceRequirements {
	if from == nil {
		return nil
	}
	given := giveMemory(*from)
	given.Claims = nil
	return &given
}

// describeMemory says that the target may use more memory in the copy; "" if it may not.
func (r CopyRequest) describeMemory() string {
	was, now := r.Target.Resources.Limits[corev1.ResourceMemory], giveMemory(r.Target.Resources).Limits[corev1.ResourceMemory]
	if was.Equal(now) {
		return ""
	}
	return fmt.Sprintf("changed:   memory limit %s instead of %s, as kdiag needs some", now.String(), was.String())
}
