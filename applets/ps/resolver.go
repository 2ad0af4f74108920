package ps

import (
	"context"
	"net/netip"
	"time"

	"kdiag/kube"
)

// resolver knows what is behind addresses, as of the last time it asked.
type resolver struct {
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

func newResolver(cluster *kube.Cluster) *resolver {
	return &resolver{list: cluster.Peers, now: time.Now}
}

// begin asks, while the caller does something else.
func (r *resolver) begin(ctx context.Context) {
	r.asked, r.pending = r.now(), make(chan struct{})
	go func() {
		defer close(r.pending)
		r.peers, r.missing = r.list(ctx)
	}()
}

// find returns what is known. It asks again where an address is not.
func (r *resolver) find(ctx context.Context, addresses []netip.Addr) (peers kube.Peers, missing []string) {
	<-r.pending
	for _, address := range addresses {
		if _, known := r.peers[address]; !known && !address.IsLoopback() && r.now().Sub(r.asked) >= askAgainAfter {
			r.begin(ctx)
			<-r.pending
			break
		}
	}
	return r.peers, r.missing
}
