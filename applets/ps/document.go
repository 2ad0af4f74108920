package ps

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"kdiag/kube"
	"kdiag/mux/wire"
)

// document is what -o json prints, and what the tables are made from.
type document struct {
	Time      time.Time    `json:"time"`
	Namespace string       `json:"namespace"`
	Pod       string       `json:"pod"`
	Container string       `json:"container"`
	Profile   kube.Profile `json:"profile"`

	Processes []wire.Process `json:"processes"`
	Listening []wire.Socket  `json:"listening"`
	// Connected is there with --sockets only.
	Connected []connectedSocket `json:"connected,omitzero"`
	Hidden    wire.Hidden       `json:"hidden"`
	Cut       []string          `json:"cut"`
}

// connectedSocket is a socket with what the API knows of its other end.
type connectedSocket struct {
	wire.Socket
	Peer *kube.Peer `json:"peer,omitempty"`
}

func newDocument(target kube.Target, injected kube.Injected, taken wire.Snapshot) document {
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

// addConnected adds the connected sockets, and returns what there is to note of
// their peers.
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

	return []string{"peers are shown by address where the API did not tell: " + strings.Join(missing, "; ")}
}

func remoteAddress(socket wire.Socket) netip.Addr {
	address, err := netip.ParseAddrPort(socket.Remote)
	if err != nil {
		return netip.Addr{}
	}
	return address.Addr().Unmap().WithZone("")
}

// limitNotes are what there is to say of what is not there: one of what is hidden,
// one of what was too much.
func (d *document) limitNotes() []string {
	var notes []string
	if count := d.Hidden.Count(); count > 0 {
		notes = append(notes, fmt.Sprintf("hidden with profile %s: the sockets of %d of %d processes (%s); %d sockets of the pod have no process that is known",
			d.Profile, count, len(d.Processes), d.Hidden.Reasons(), d.Hidden.Sockets))
	}
	if len(d.Cut) > 0 {
		notes = append(notes, "left out: "+strings.Join(d.Cut, "; "))
	}
	return notes
}
