package kube

import (
	"context"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// These find where a Service's connections go.
var (
	rightGetServices = accessRight{verb: "get", resource: "services"}
	rightListSlices  = accessRight{verb: "list", group: "discovery.k8s.io", resource: "endpointslices"}
)

// ServiceDestinations returns where connections to a port of a host may go, if it is the name of a
// Service, as a pod of the namespace knows it: the Service's own addresses, and its endpoints with
// their ports, since some networks (Cilium's socket load balancer, for one) replace the one by the
// other before the pod's rules see the connection. It returns none for any other host.
func (c *Cluster) ServiceDestinations(ctx context.Context, namespace, host string, port uint16) ([]netip.AddrPort, error) {
	name, namespace, certain := parseServiceHost(host, namespace)
	if name == "" {
		return nil, nil
	}

	doing := "find the endpoints of service " + namespace + "/" + name
	service, err := getObject[corev1.Service](ctx, c.services(namespace), name)
	switch {
	case isNotFound(err), err != nil && !certain && apierrors.IsForbidden(err):
		return nil, nil
	case err != nil:
		return nil, c.explainError(ctx, doing, rightGetServices.scopedTo(namespace, name), err)
	case service.Spec.ClusterIP == corev1.ClusterIPNone || service.Spec.Type == corev1.ServiceTypeExternalName:
		return nil, nil // its name leads to the pods themselves, or elsewhere
	}

	found := clusterAddresses(service, port)
	portName, serves := findPortName(service, port)
	if !serves {
		return found, nil
	}

	slices, err := listObjects[discoveryv1.EndpointSliceList](ctx, c.endpointSlices(namespace),
		metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + name})
	if err != nil {
		return found, c.explainError(ctx, doing, rightListSlices.scopedTo(namespace, ""), err)
	}
	for i := range slices.Items {
		found = append(found, endpointsOf(&slices.Items[i], portName)...)
	}

	return found, nil
}

// parseServiceHost returns which Service a host may be the name of: NAME, NAME.NAMESPACE, or
// NAME.NAMESPACE.svc with or without the cluster's domain, which makes it certain. The name is
// empty if it cannot be one.
func parseServiceHost(host, namespace string) (name, in string, certain bool) {
	if _, err := netip.ParseAddr(host); err == nil {
		return "", "", false
	}

	labels := strings.Split(strings.TrimSuffix(strings.ToLower(host), "."), ".")
	switch {
	case len(labels) == 1:
		return labels[0], namespace, true
	case len(labels) == 2:
		return labels[0], labels[1], false
	case labels[2] == "svc":
		return labels[0], labels[1], true
	}
	return "", "", false
}

// clusterAddresses returns a Service's own addresses within the cluster, with a port.
func clusterAddresses(service *corev1.Service, port uint16) []netip.AddrPort {
	var found []netip.AddrPort
	for _, text := range service.Spec.ClusterIPs {
		if address, err := netip.ParseAddr(text); err == nil {
			found = append(found, netip.AddrPortFrom(address.Unmap(), port))
		}
	}
	return found
}

// findPortName returns the name of a Service's TCP port, which may be empty.
func findPortName(service *corev1.Service, number uint16) (name string, found bool) {
	for _, port := range service.Spec.Ports {
		if port.Port == int32(number) && isTCP(port.Protocol) {
			return port.Name, true
		}
	}
	return "", false
}

// endpointsOf returns the endpoints of a slice for the Service's port of a name.
func endpointsOf(slice *discoveryv1.EndpointSlice, portName string) []netip.AddrPort {
	var found []netip.AddrPort
	for _, port := range slice.Ports {
		if port.Port == nil || port.Name != nil && *port.Name != portName || port.Name == nil && portName != "" {
			continue
		}
		if port.Protocol != nil && !isTCP(*port.Protocol) {
			continue
		}

		for _, endpoint := range slice.Endpoints {
			for _, text := range endpoint.Addresses {
				if address, err := netip.ParseAddr(text); err == nil {
					found = append(found, netip.AddrPortFrom(address.Unmap(), uint16(*port.Port)))
				}
			}
		}
	}
	return found
}
