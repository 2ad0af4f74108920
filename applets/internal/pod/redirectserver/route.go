package redirectserver

import (
	"net/netip"

	"kdiag/applets/internal/pod/healthprobe"
	"kdiag/mux"
)

// A route says where a redirected connection goes.
type route uint8

const (
	// toLaptop passes it to the program on the laptop.
	toLaptop route = iota
	// toApplication passes it to where it was going.
	toApplication
	// toNobody ends it: it wants nothing but to be accepted.
	toNobody
	// nowhere resets it: it is broken already.
	nowhere
)

// chooseRoute decides where a connection goes, by what is known of it. It is the only place that
// does. It may wait for the connection's first bytes, which it leaves where they are.
func (r *redirectListener) chooseRoute(conn *mux.TCP) route {
	if r.probes == nil {
		return r.awaitLaptop(r.stopped)
	}

	source := sourceAddress(conn).Addr()
	found, err := classifyConnection(conn, r.probes, r.nodes.contains(source), r.stopped)
	if err != nil {
		return nowhere
	}
	if found.verdict == healthprobe.Other {
		return r.awaitLaptop(r.stopped)
	}

	r.noteProbe(source, found.verdict)
	if found.empty {
		return toNobody
	}
	return toApplication
}

// isClosed reports whether a channel that carries nothing is closed.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// noteProbe counts a probe, and learns from one that is certain where the kubelet is.
func (r *redirectListener) noteProbe(source netip.Addr, verdict healthprobe.Verdict) {
	if verdict == healthprobe.Recognized {
		r.nodes.learn(source)
	}
	r.probed.note(verdict)
}
