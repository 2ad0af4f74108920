package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// GetService reads a Service of the cluster's namespace.
func (c *Cluster) GetService(ctx context.Context, name string) (*corev1.Service, error) {
	service, err := getObject[corev1.Service](ctx, c.services(c.Namespace), name)
	if err != nil {
		right := accessRight{verb: "get", resource: "services", namespace: c.Namespace, name: name}
		return nil, c.explainError(ctx, "read service "+name, right, err)
	}
	return service, nil
}

// FindNamedPort returns the TCP port that a container of a pod declares by a name, as endpoints of
// Services do: init containers count only if they go on running.
func FindNamedPort(pod *corev1.Pod, name string) (uint16, error) {
	doing := fmt.Sprintf("find port %q of pod %s/%s", name, pod.Namespace, pod.Name)
	var others []corev1.ContainerPort
	for _, port := range servingPorts(pod) {
		switch {
		case port.Name == name && isTCP(port.Protocol):
			return uint16(port.ContainerPort), nil
		case port.Name == name:
			return 0, &Error{Doing: doing, Err: fmt.Errorf("it is a port of %s, and only TCP is redirected", port.Protocol)}
		case port.Name != "" && isTCP(port.Protocol):
			others = append(others, port)
		}
	}

	if len(others) == 0 {
		return 0, &Error{Doing: doing, Err: errors.New("no container declares a TCP port by a name"), Next: "give the port's number"}
	}

	names := make([]string, len(others))
	for i, port := range others {
		names[i] = fmt.Sprintf("%s (%d)", port.Name, port.ContainerPort)
	}
	return 0, &Error{Doing: doing, Err: fmt.Errorf("no container declares it; named ports of the pod: %s", strings.Join(names, ", "))}
}

// servingPorts lists what those containers of a pod declare that run beside each other.
func servingPorts(pod *corev1.Pod) []corev1.ContainerPort {
	var ports []corev1.ContainerPort
	for _, c := range slices.Concat(pod.Spec.Containers, sidecars(pod)) {
		ports = append(ports, c.Ports...)
	}
	return ports
}

// sidecars lists the init containers of a pod that go on running (KEP-753).
func sidecars(pod *corev1.Pod) []corev1.Container {
	return slices.DeleteFunc(slices.Clone(pod.Spec.InitContainers), func(c corev1.Container) bool {
		return c.RestartPolicy == nil || *c.RestartPolicy != corev1.ContainerRestartPolicyAlways
	})
}

// isTCP reports whether a protocol of the API is TCP, which is also the default.
func isTCP(protocol corev1.Protocol) bool { return protocol == corev1.ProtocolTCP || protocol == "" }

// LeavesPortToPod reports whether a port with this number or, if that is 0, name is the pod's own
// although a Service is the target. Callers of a headless Service reach every port of its pods,
// since nothing translates any; the Service need not have one.
func LeavesPortToPod(service *corev1.Service, number uint16, name string) bool {
	return service.Spec.ClusterIP == corev1.ClusterIPNone &&
		!slices.ContainsFunc(service.Spec.Ports, func(p corev1.ServicePort) bool { return isAskedFor(p, number, name) })
}

// isAskedFor reports whether a Service's port has a number or, if that is 0, a name.
func isAskedFor(port corev1.ServicePort, number uint16, name string) bool {
	if number != 0 {
		return port.Port == int32(number)
	}
	return port.Name == name
}

// FindServicePort returns the TCP port of a Service that has a number or, if that is 0, a name.
// pod is where the Service leads, for the hint.
func FindServicePort(service *corev1.Service, pod *corev1.Pod, number uint16, name string) (corev1.ServicePort, error) {
	asked := name
	if number != 0 {
		asked = fmt.Sprint(number)
	}
	doing := fmt.Sprintf("find port %s of service %s", asked, service.Name)

	var otherProtocol corev1.Protocol
	for _, port := range service.Spec.Ports {
		if !isAskedFor(port, number, name) {
			continue
		}
		if isTCP(port.Protocol) {
			return port, nil
		}
		otherProtocol = port.Protocol
	}

	if otherProtocol != "" {
		return corev1.ServicePort{}, &Error{Doing: doing, Err: fmt.Errorf("it is a port of %s, and only TCP is redirected", otherProtocol)}
	}
	return corev1.ServicePort{}, &Error{Doing: doing, Err: fmt.Errorf("the service has no such port; it has %s", describeServicePorts(service)),
		Next: fmt.Sprintf("write pod/%s to redirect a port of the pod's own", pod.Name)}
}

// describeServicePorts lists the ports of a Service for people.
func describeServicePorts(service *corev1.Service) string {
	var ports []string
	for _, port := range service.Spec.Ports {
		text := fmt.Sprint(port.Port)
		if !isTCP(port.Protocol) {
			text += "/" + string(port.Protocol)
		}
		if port.Name != "" {
			text += " (" + port.Name + ")"
		}
		ports = append(ports, text)
	}
	if len(ports) == 0 {
		return "none"
	}
	return strings.Join(ports, ", ")
}

// FindTargetPort returns the pod's port that a Service's port leads to. As with kubectl
// port-forward, a headless Service leads to the same port, since nothing translates it.
func FindTargetPort(service *corev1.Service, pod *corev1.Pod, port corev1.ServicePort) (uint16, error) {
	switch {
	case service.Spec.ClusterIP == corev1.ClusterIPNone:
		return uint16(port.Port), nil
	case port.TargetPort.Type == intstr.String:
		target, err := FindNamedPort(pod, port.TargetPort.StrVal)
		if err != nil {
			err = fmt.Errorf("port %d of service %s: %w", port.Port, service.Name, err)
		}
		return target, err
	case port.TargetPort.IntVal == 0:
		return uint16(port.Port), nil
	}
	return uint16(port.TargetPort.IntVal), nil
}

// A PortDeclaration says what a pod's spec and status tell of one of its ports.
type PortDeclaration struct {
	// Protocol is set if containers declare the port, but none of them as TCP.
	Protocol string
	// Container is set if a container that does not run declares the port, and none that does.
	// Reason says why it does not run.
	Container, Reason string
}

// DescribePort returns what is remarkable in how a pod declares a port; nothing is if it does not
// declare it.
func DescribePort(pod *corev1.Pod, number uint16) PortDeclaration {
	var idle PortDeclaration
	protocol := ""
	for _, c := range slices.Concat(pod.Spec.Containers, sidecars(pod)) {
		for _, port := range c.Ports {
			switch {
			case port.ContainerPort != int32(number):
				continue
			case !isTCP(port.Protocol):
				protocol = string(port.Protocol)
				continue
			}

			status := findStatus(pod, c.Name)
			if status != nil && status.State.Running != nil {
				return PortDeclaration{}
			}
			idle = PortDeclaration{Container: c.Name, Reason: describeNotRunning(pod, status)}
		}
	}

	if idle.Container == "" {
		idle.Protocol = protocol
	}
	return idle
}
