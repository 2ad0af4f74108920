package redir

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/laptop/redirectclient"
	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
)

// clusterAPI is what redir asks of the API. *kube.Cluster is the real one.
type clusterAPI interface {
	containers.API
	GetService(ctx context.Context, name string) (*corev1.Service, error)
	ServiceDestinations(ctx context.Context, namespace, host string, port uint16) ([]netip.AddrPort, error)
}

// findDestinations returns where connections of a pod to a Service go, without those to the pod
// itself, which never leave it.
func findDestinations(ctx context.Context, cluster clusterAPI, pod *corev1.Pod, s redirectclient.Spec) ([]netip.AddrPort, error) {
	found, err := cluster.ServiceDestinations(ctx, pod.Namespace, s.Host, s.Port)
	found = slices.DeleteFunc(found, func(d netip.AddrPort) bool {
		return slices.ContainsFunc(pod.Status.PodIPs, func(own corev1.PodIP) bool { return own.IP == d.Addr().String() })
	})
	return found, err
}

// resolvePorts returns redirects with the numbers that their ports have in a pod, which was chosen
// by a selection. If that names a Service, the incoming ports are the Service's.
func resolvePorts(ctx context.Context, cluster clusterAPI, selection kube.Selection, pod *corev1.Pod, specs []redirectclient.Spec) ([]redirectclient.Spec, error) {
	resolve := func(s redirectclient.Spec) (redirectclient.Spec, error) { return resolvePodPort(pod, s) }
	if selection.Kind == "services" && hasIncoming(specs) {
		service, err := cluster.GetService(ctx, selection.Name)
		if err != nil {
			return nil, err
		}
		resolve = func(s redirectclient.Spec) (redirectclient.Spec, error) { return resolveServicePort(service, pod, s) }
	}

	var resolved []redirectclient.Spec
	asked := map[string]string{}
	for _, spec := range specs {
		typed := spec.String()
		if !spec.Outgoing {
			var err error
			if spec, err = resolve(spec); err != nil {
				return nil, err
			}
		}

		if first, twice := asked[spec.String()]; twice {
			return nil, fmt.Errorf("redirect port %d of pod %s/%s: it is given twice, as %s and as %s", spec.Port, pod.Namespace, pod.Name, first, typed)
		}
		asked[spec.String()] = typed
		resolved = append(resolved, spec)
	}

	return resolved, nil
}

// hasIncoming reports whether one of several redirects is of incoming connections.
func hasIncoming(specs []redirectclient.Spec) bool {
	for _, spec := range specs {
		if !spec.Outgoing {
			return true
		}
	}
	return false
}

// resolvePodPort finds the number of a pod's port that has a name.
func resolvePodPort(pod *corev1.Pod, s redirectclient.Spec) (redirectclient.Spec, error) {
	if s.PortName == "" {
		return s, nil
	}

	var err error
	if s.Port, err = kube.FindNamedPort(pod, s.PortName); err != nil {
		return s, err
	}
	return withLocal(s, s.Port), nil
}

// resolveServicePort finds the pod's port that a Service's port leads to.
func resolveServicePort(service *corev1.Service, pod *corev1.Pod, s redirectclient.Spec) (redirectclient.Spec, error) {
	if kube.LeavesPortToPod(service, s.Port, s.PortName) {
		s, err := resolvePodPort(pod, s)
		return withLocal(s, s.Port), err
	}

	port, err := kube.FindServicePort(service, pod, s.Port, s.PortName)
	if err != nil {
		return s, err
	}

	s.Service, s.ServicePort = service.Name, uint16(port.Port)
	if s.Port, err = kube.FindTargetPort(service, pod, port); err != nil {
		return s, err
	}
	return withLocal(s, s.ServicePort), nil
}

// withLocal gives a redirect a port of this machine, if the user named none.
func withLocal(s redirectclient.Spec, port uint16) redirectclient.Spec {
	if s.Local == "" {
		s.Local = net.JoinHostPort(localhost, strconv.Itoa(int(port)))
	}
	return s
}

// describePort says what is remarkable in how the pod declares a redirected port.
func describePort(pod *corev1.Pod, s redirectclient.Spec) redirectclient.Declaration {
	if s.Outgoing {
		return redirectclient.Declaration{}
	}
	return redirectclient.Declaration(kube.DescribePort(pod, s.Port))
}
