package ps

import (
	"context"
	"net/netip"
	"time"

	"kdiag/kube"
)

// peerResolver looks up the pods and services behind addresses, and caches them.
type peerResolver struct {
	list    func(context.Context) (kube.Peers, []string)
	now     func() time.Time
	pending chan struct{} // closed once peers is set
	asked   time.Time
	peers   kube.Peers
	missing []string
}

// askAgainAfter is the pause before an unknown address is looked up again, since
// listing a large cluster is expensive.
const askAgainAfter = 10 * time.Second

// peerFinder has the method of a *kube.Cluster that peerResolver needs.
type peerFinder interface {
	ListPeers(ctx context.Context) (peers kube.Peers, missing []string)
}

func newPeerResolver(cluster peerFinder) *peerResolver {
	return &peerResolver{list: cluster.ListPeers, now: time.Now}
}

// startQuery asks the API server in the background.
func (r *peerResolver) startQuery(ctx context.Context) {
	r.asked, r.pending = r.now(), make(chan struct{})
	go func() {
		defer close(r.pending)
		r.peers, r.missing = r.list(ctx)
	}()
}

// findPeers returns the known peers. It asks again if an address is unknown.
func (r *peerResolver) findPeers(ctx context.Context, addresses []netip.Addr) (peers kube.Peers, missing []string) {
	<-r.pending
	for _, address := range addresses {
		if _, known := r.peers[address]; !known && !address.IsLoopback() && r.now().Sub(r.asked) >= askAgainAfter {
			r.startQuery(ctx)
			<-r.pending
			break
		}
	}
	return r.peers, r.missing
}
