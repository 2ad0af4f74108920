package kube

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// DeclaredPorts lists the TCP ports that a container of a pod declares. It lists none for a
// container that does not exist.
func DeclaredPorts(pod *corev1.Pod, container string) []uint16 {
	var ports []uint16
	for _, c := range slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers) {
		if c.Name != container {
			continue
		}
		for _, port := range c.Ports {
			if port.Protocol == corev1.ProtocolTCP || port.Protocol == "" {
				ports = append(ports, uint16(port.ContainerPort))
			}
		}
	}

	return ports
}
