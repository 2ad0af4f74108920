package kube

import (
	"context"
	"net/netip"
	"sync"

	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Peer names the object that has an address.
type Peer struct {
	// Kind is pod, service or node.
	Kind string `json:"kind"`
	// Namespace is empty for a node.
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// String names the object with its kind and namespace.
func (p Peer) String() string {
	if p.Namespace == "" {
		return p.Kind + " " + p.Name
	}
	return p.Kind + " " + p.Namespace + "/" + p.Name
}

// Peers maps addresses to the objects that have them.
type Peers map[netip.Addr]Peer

// ListPeers lists the pods and services of all namespaces, or only those of the cluster's own
// if the user may not list all. missing says in a few words what it could not list.
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

// listAllNamespaces lists a resource in all namespaces, or else in the cluster's own, and says
// what is missing. The API server may answer from its cache, which is new enough.
func listAllNamespaces[T any, P apiObject[T]](ctx context.Context, c *Cluster, of func(namespace string) resource) (P, string) {
	cached := metav1.ListOptions{ResourceVersion: "0"}
	found, err := listObjects[T, P](ctx, of(""), cached)
	if err == nil {
		return found, ""
	}

	name := of("").name
	if !apierrors.IsForbidden(err) {
		return nil, "list " + name + ": " + wire.OneLine(c.simplifyError(err).Error())
	}
	if found, err = listObjects[T, P](ctx, of(c.Namespace), cached); err != nil {
		return nil, "not allowed to list " + name
	}

	return found, "not allowed to list " + name + " in other namespaces"
}

// addPods adds the addresses of pods and of the nodes that they run on.
func (p Peers) addPods(pods []corev1.Pod) {
	for i := range pods {
		pod := &pods[i]
		// The address of a pod that has ended may belong to another by now.
		if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}

		for _, host := range append(pod.Status.HostIPs, corev1.HostIP{IP: pod.Status.HostIP}) {
			p.addAddress(host.IP, Peer{Kind: "node", Name: pod.Spec.NodeName})
		}

		if pod.Spec.HostNetwork {
			continue // it has the node's addresses
		}

		for _, own := range append(pod.Status.PodIPs, corev1.PodIP{IP: pod.Status.PodIP}) {
			p.addAddress(own.IP, Peer{"pod", pod.Namespace, pod.Name})
		}
	}
}

// addServices adds the addresses of services, within the cluster and outside.
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

// addAddress adds an address unless it is taken or not an address: headless services have "None".
func (p Peers) addAddress(address string, peer Peer) {
	parsed, err := netip.ParseAddr(address)
	if err != nil {
		return
	}

	parsed = parsed.Unmap() // ::ffff:10.96.0.1 is 10.96.0.1
	if _, taken := p[parsed]; !taken {
		p[parsed] = peer
	}
}
