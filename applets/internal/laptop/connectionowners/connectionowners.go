// Package connectionowners knows which process of a container has a packet's connection open, by
// the snapshots that "kdiag inspect" takes. It asks nobody: a packet never waits.
package connectionowners

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"kdiag/mux/wire"
)

// Table knows the sockets of one container. Any goroutine may use it.
type Table struct {
	// prefix says whose processes they are.
	prefix string

	mu sync.RWMutex
	// connected has the owners of sockets that have a peer, listening those of the others.
	connected map[endpoints]string
	listening map[listener]string
	// comments has a comment for each question since the last snapshot.
	comments map[question]string
}

// question is what a comment depends on.
type question struct {
	flow Flow
	side Side
}

// Side says which ends of a packet's way are in the pod.
type Side int

const (
	// Neither is known to be.
	Neither Side = iota
	// Source is: the packet goes out.
	Source
	// Destination is: the packet comes in.
	Destination
)

// endpoints is what one socket that has a peer is known by.
type endpoints struct {
	protocol      Protocol
	local, remote netip.AddrPort
}

// listener is what a socket without a peer is known by. The address is the zero Addr for all.
type listener struct {
	protocol Protocol
	address  netip.Addr
	port     uint16
}

const (
	// maxConnected bounds how many connections of the past are known.
	maxConnected = 1 << 16
	// maxComments bounds how many comments wait for another packet of their flow.
	maxComments = 1 << 14
)

// New returns a table of a container's sockets. It is empty before the first snapshot.
func New(pod, container string) *Table {
	return &Table{
		prefix:    wire.Printable("pod " + pod + ", container " + container + ", "),
		connected: map[endpoints]string{}, listening: map[listener]string{}, comments: map[question]string{},
	}
}

// Update takes a snapshot in. Connections that it does not have stay: their last packets may come
// after them.
func (t *Table) Update(taken wire.Snapshot) {
	names := map[int]string{}
	for _, process := range taken.Processes {
		names[process.PID] = fmt.Sprintf("process %s (PID %d)", wire.Printable(process.Name), process.PID)
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.connected)+len(taken.Sockets) > maxConnected {
		clear(t.connected)
	}
	clear(t.listening)
	clear(t.comments)

	for _, socket := range taken.Sockets {
		if owner := names[firstProcess(socket.PIDs)]; owner != "" && len(t.connected) < maxConnected {
			t.addSocket(socket, owner)
		}
	}
}

// firstProcess returns the oldest of a socket's processes, the one that the others are forks of.
func firstProcess(pids []int) int {
	if len(pids) == 0 {
		return 0
	}

	return slices.Min(pids)
}

// addSocket adds one socket. The caller holds mu.
func (t *Table) addSocket(socket wire.Socket, owner string) {
	protocol := TCP
	switch {
	case strings.HasPrefix(socket.Protocol, "udp"):
		protocol = UDP
	case !strings.HasPrefix(socket.Protocol, "tcp"):
		return
	}

	local, err := parseAddress(socket.Local)
	if err != nil {
		return
	}

	if socket.Listening() {
		address := local.Addr()
		if address.IsUnspecified() {
			address = netip.Addr{}
		}
		t.listening[listener{protocol, address, local.Port()}] = owner
		return
	}

	if remote, err := parseAddress(socket.Remote); err == nil {
		t.connected[endpoints{protocol, local, remote}] = owner
	}
}

// parseAddress parses an address with its port, without what only one kind of socket has.
func parseAddress(text string) (netip.AddrPort, error) {
	address, err := netip.ParseAddrPort(text)

	return netip.AddrPortFrom(address.Addr().Unmap().WithZone(""), address.Port()), err
}

// Comment says whose a packet is: the pod, the container and the process. It is empty if no socket
// is known that the packet comes from or goes to.
func (t *Table) Comment(flow Flow, side Side) string {
	asked := question{flow, side}
	t.mu.RLock()
	comment, known := t.comments[asked]
	t.mu.RUnlock()
	if known {
		return comment
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	comment = t.makeComment(asked)
	if len(t.comments) < maxComments {
		t.comments[asked] = comment
	}

	return comment
}

// makeComment looks for the owners. The caller holds mu.
func (t *Table) makeComment(asked question) string {
	flow, from, to := asked.flow, "", ""
	both := flow.staysInPod()
	if both || asked.side == Source {
		from = t.findOwner(flow.Protocol, flow.Source, flow.Destination)
	}
	if both || asked.side == Destination {
		to = t.findOwner(flow.Protocol, flow.Destination, flow.Source)
	}

	switch {
	case from != "" && to != "":
		return t.prefix + "from " + from + " to " + to
	case from+to != "":
		return t.prefix + from + to
	}

	return ""
}

// staysInPod reports whether both ends are in the pod.
func (f Flow) staysInPod() bool {
	source, destination := f.Source.Addr(), f.Destination.Addr()

	return source == destination || source.IsLoopback() && destination.IsLoopback()
}

// findOwner returns who has the socket of one end: the one that is connected, else the one that
// takes packets or connections from anybody. The caller holds mu.
func (t *Table) findOwner(protocol Protocol, local, remote netip.AddrPort) string {
	owner := t.connected[endpoints{protocol, local, remote}]
	for _, address := range []netip.Addr{local.Addr(), {}} {
		owner = cmp.Or(owner, t.listening[listener{protocol, address, local.Port()}])
	}

	return owner
}
