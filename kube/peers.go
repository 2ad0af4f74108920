package kube

import (
	"context"
	"net/netip"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Peer is what the API knows to have an address.
type Peer struct {
	// Kind is pod, service or node.
	Kind string `json:"kind"`
	// Namespace is empty for a node.
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// String is as kubectl names it, with the namespace.
func (p Peer) String() string {
	if p.Namespace == "" {
		return p.Kind + " " + p.Name
	}
	return p.Kind + " " + p.Namespace + "/" + p.Name
}

// Peers finds a Peer by its address.
type Peers map[netip.Addr]Peer

// ListPeers lists the pods and services of all namespaces, or, without the right to
// that, of the cluster's own. What could not be listed is told in missing, a
// few words for each; that is no failure.
func (c *Cluster) ListPeers(ctx context.Context) (peers Peers, missing []string) {
	var pods *corev1.PodList
	var services *corev1.ServiceList
	var podsMissing, servicesMissing string
	var both sync.WaitGroup
	both.Go(func() { pods, podsMissing = listAllNamespaces[corev1.PodList](ctx, c, c.pods) })
	both.Go(func() { services, servicesMissing = listAllNamespaces[corev1.ServiceList](ctx, c, c.services) })
	both.Wait()
	for _, text := range []string{podsMissing, servicesMissing} {
		if text != "" {
			missing = append(missing, text)
		}
	}

	peers = Peers{}
	if pods != nil {
		peers.addPods(pods.Items)
	}
	if services != nil {
		peers.addServices(services.Items)
	}

	return peers, missing
}

// listAllNamespaces lists a resource in all namespaces, else in the cluster's own, and
// says what is missing. The API server answers from its cache, which is new
// enough and spares it the work.
func listAllNamespaces[T any, P apiObject[T]](ctx context.Context, c *Cluster, of func(namespace string) resource) (P, string) {
	cached := metav1.ListOptions{ResourceVersion: "0"}
	found, err := listObjects[T, P](ctx, of(""), cached)
	if err == nil {
		return found, ""
	}

	name := of("").name
	if !apierrors.IsForbidden(err) {
		return nil, "list " + name + ": " + oneLine(c.simplifyError(err).Error())
	}
	if found, err = listObjects[T, P](ctx, of(c.Namespace), cached); err != nil {
		return nil, "not allowed to list " + name
	}

	return found, "not allowed to list " + name + " in other namespaces"
}

func (p Peers) addPods(pods []corev1.Pod) {
	for i := range pods {
		pod := &pods[i]
		// An address of a pod that has ended may be another's by now.
		if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}

		for _, host := range append(pod.Status.HostIPs, corev1.HostIP{IP: pod.Status.HostIP}) {
			p.addAddress(host.IP, Peer{Kind: "node", Name: pod.Spec.NodeName})
		}

		if pod.Spec.HostNetwork {
			continue // its addresses are the node's
		}

		for _, own := range append(pod.Status.PodIPs, corev1.PodIP{IP: pod.Status.PodIP}) {
			p.addAddress(own.IP, Peer{"pod", pod.Namespace, pod.Name})
		}
	}
}

func (p Peers) addServices(services []corev1.Service) {
	for i := range services {
		service := &services[i]
		addresses := append(append([]string{service.Spec.ClusterIP}, service.Spec.ClusterIPs...), service.Spec.ExternalIPs...)
		for _, ingress := range service.Status.LoadBalancer.Ingress {
			addresses = append(addresses, ingress.IP)
		}
		for _, address := range addresses {
			p.addAddress(address, Peer{"service", service.Namespace, service.Name})
		}
	}
}

// addAddress adds an address, unless it is none: a headless service has "None".
func (p Peers) addAddress(address string, peer Peer) {
	parsed, err := netip.ParseAddr(address)
	if _, taken := p[parsed]; err == nil && !taken {
		p[parsed.Unmap()] = peer
	}
}
