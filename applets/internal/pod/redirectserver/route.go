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
	// nowhere resets it, as the user wants while the laptop is away.
	nowhere
	// broken ends what its caller has reset.
	broken
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
		return broken
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

// noteProbe counts a probe, and learns from one that is certain where the kubelet is.
func (r *redirectListener) noteProbe(source netip.Addr, verdict healthprobe.Verdict) {
	if verdict == healthprobe.Recognized {
		r.nodes.learn(source)
	}
	r.probed.note(verdict)
}
