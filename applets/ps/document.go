package ps

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"kdiag/applets"
	"kdiag/kube"
	"kdiag/mux/wire"
)

// document holds what -o json prints and what the tables show.
type document struct {
	Time      time.Time    `json:"time"`
	Namespace string       `json:"namespace"`
	Pod       string       `json:"pod"`
	Container string       `json:"container"`
	Profile   kube.Profile `json:"profile"`

	Processes []wire.Process `json:"processes"`
	Listening []wire.Socket  `json:"listening"`
	// Connected is set only with --sockets.
	Connected []connectedSocket `json:"connected,omitzero"`
	Hidden    wire.Hidden       `json:"hidden"`
	Cut       []string          `json:"cut"`
}

// connectedSocket pairs a socket with what the API knows about its peer.
type connectedSocket struct {
	wire.Socket
	Peer *kube.Peer `json:"peer,omitempty"`
}

func newDocument(target kube.TargetContainer, injected kube.Injected, taken wire.Snapshot) document {
	d := document{
		Time: taken.Time, Namespace: target.Pod.Namespace, Pod: target.Pod.Name, Container: target.Container,
		Profile: injected.Profile, Processes: taken.Processes, Listening: []wire.Socket{},
		Hidden: taken.Hidden, Cut: taken.Cut,
	}
	for _, socket := range taken.Sockets {
		if socket.Listening() {
			d.Listening = append(d.Listening, socket)
		}
	}
	return d
}

// addConnected adds the connected sockets. It returns notes about peers that could
// not be looked up.
func (d *document) addConnected(ctx context.Context, taken wire.Snapshot, known *peerResolver) []string {
	d.Connected = []connectedSocket{}
	var addresses []netip.Addr
	for _, socket := range taken.Sockets {
		if !socket.Listening() {
			d.Connected = append(d.Connected, connectedSocket{Socket: socket})
			addresses = append(addresses, remoteAddress(socket))
		}
	}

	peers, missing := known.findPeers(ctx, addresses)
	for i := range d.Connected {
		if peer, ok := peers[addresses[i]]; ok {
			d.Connected[i].Peer = &peer
		}
	}

	if len(missing) == 0 || len(d.Connected) == 0 {
		return nil
	}

	return []string{"some peers are shown by address only: " + strings.Join(missing, "; ")}
}

func remoteAddress(socket wire.Socket) netip.Addr {
	address, err := netip.ParseAddrPort(socket.Remote)
	if err != nil {
		return netip.Addr{}
	}
	return address.Addr().Unmap().WithZone("")
}

// limitNotes returns notes about what the document lacks: what is hidden from this
// profile, and what exceeded a limit.
func (d *document) limitNotes() []string {
	var notes []string
	if count := d.Hidden.Count(); count > 0 {
		notes = append(notes, fmt.Sprintf("hidden with profile %s: the sockets of %d of %s (%s), and the processes of %s",
			d.Profile, count, applets.CountOf(len(d.Processes), "process", "processes"), d.Hidden.Reasons(),
			applets.CountOf(d.Hidden.Sockets, "socket", "sockets")))
	}
	if len(d.Cut) > 0 {
		notes = append(notes, "left out: "+strings.Join(d.Cut, "; "))
	}
	return notes
}
