package ps

import (
	"context"
	"net/netip"
	"time"

	"kdiag/kube"
)

// peerResolver knows what is behind addresses, as of the last time it asked.
type peerResolver struct {
	list    func(context.Context) (kube.Peers, []string)
	now     func() time.Time
	pending chan struct{} // closed once peers is there
	asked   time.Time
	peers   kube.Peers
	missing []string
}

// askAgainAfter is how long an address that was unknown stays so: lists of a
// large cluster are long.
const askAgainAfter = 10 * time.Second

// peerFinder says what is behind addresses. *kube.Cluster is the real one.
type peerFinder interface {
	Peers(ctx context.Context) (peers kube.Peers, missing []string)
}

func newPeerResolver(cluster peerFinder) *peerResolver {
	return &peerResolver{list: cluster.Peers, now: time.Now}
}

// startQuery asks, while the caller does something else.
func (r *peerResolver) startQuery(ctx context.Context) {
	r.asked, r.pending = r.now(), make(chan struct{})
	go func() {
		defer close(r.pending)
		r.peers, r.missing = r.list(ctx)
	}()
}

// findPeers returns what is known. It asks again where an address is not.
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
