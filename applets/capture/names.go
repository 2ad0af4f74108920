package capture

import (
	"context"
	"net/netip"
	"time"

	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
)

// peerLister lists who has which address. *kube.Cluster is the real one.
type peerLister interface {
	ListPeers(ctx context.Context) (peers kube.Peers, missing []string)
}

// namesTime bounds the wait for names, without which a capture works as well.
const namesTime = 3 * time.Second

// lookUpNames begins to ask for the names of pods and Services, as far as the user may list them. The
// function that it returns waits for them, but not long.
func lookUpNames(ctx context.Context, lister peerLister) (wait func() kube.Peers) {
	asking, cancel := context.WithTimeout(ctx, kube.DefaultTimeout)
	answer := make(chan kube.Peers, 1)
	go func() {
		defer cancel()
		peers, _ := lister.ListPeers(asking)
		answer <- peers
	}()

	return func() kube.Peers {
		defer cancel()
		late := time.NewTimer(namesTime)
		defer late.Stop()
		select {
		case peers := <-answer:
			return peers
		case <-late.C:
		case <-ctx.Done():
		}

		return nil
	}
}

// fileNames returns the names that a file has for each address.
func fileNames(peers kube.Peers) map[netip.Addr][]string {
	names := make(map[netip.Addr][]string, len(peers))
	for address, peer := range peers {
		names[address] = []string{peerName(peer)}
	}

	return names
}

// lineNames returns the name that a line has in the place of each address.
func lineNames(peers kube.Peers) map[netip.Addr]string {
	names := make(map[netip.Addr]string, len(peers))
	for address, peer := range peers {
		names[address] = peerName(peer)
	}

	return names
}

// peerName names an object as its name in the cluster's DNS begins.
func peerName(peer kube.Peer) string {
	switch peer.Kind {
	case "service":
		return peer.Name + "." + peer.Namespace + ".svc"
	case "pod":
		return peer.Name + "." + peer.Namespace
	}

	return peer.Name
}

// podNames returns the names for a pod's own addresses.
func podNames(pod *corev1.Pod) map[netip.Addr][]string {
	names := map[netip.Addr][]string{}
	for _, own := range append(pod.Status.PodIPs, corev1.PodIP{IP: pod.Status.PodIP}) {
		if address, err := netip.ParseAddr(own.IP); err == nil {
			names[address] = []string{peerName(kube.Peer{Kind: "pod", Namespace: pod.Namespace, Name: pod.Name})}
		}
	}

	return names
}
