package redirectserver

import (
	"net"
	"testing"

	"kdiag/mux/wire"
)

// TestCrowd leaves the port to the application while there are many connections, and redirects it
// again once half of them have ended. None is reset.
func TestCrowd(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	v := startManager(t, never).visit(t, wire.Hello{Holder: "me@here"})
	v.attach(t)
	const limit = 40
	pool := v.manager.server.pool
	pool.setLimit(limit)

	var conns []net.Conn
	for v.armed(t) && len(conns) < limit {
		conns = append(conns, dialMany(t, 1)...)
		eventually(t, "the connection", func() bool { return pool.count() == len(conns) })
	}
	if len(conns) == limit {
		t.Error("the port is redirected although every place is taken")
	}
	wantGreeting(t, "app", "in a crowd")

	if got := greetMany(conns); got["lap"] != len(conns) {
		t.Errorf("of %d connections: %v, want all with the laptop", len(conns), got)
	}
	eventually(t, "the rule to return", func() bool { return v.armed(t) })
	wantGreeting(t, "lap", "after the crowd")
}

// TestCrowdComesAtOnce has those wait that were redirected before the rule could go.
func TestCrowdComesAtOnce(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	v := startManager(t, never).visit(t, wire.Hello{Holder: "me@here"})
	v.attach(t)
	const limit, callers = 40, 200
	v.manager.server.pool.setLimit(limit)

	got := greetMany(dialMany(t, callers))
	if got["lap"] < limit*3/4 || got["lap"]+got["app"] != callers {
		t.Errorf("of %d connections: %v, want none reset", callers, got)
	}
}

// TestBlinkInCrowd redirects the port again once there is room, although the laptop was away for a
// moment while there was none, and no proof could be accepted.
func TestBlinkInCrowd(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	v := startManager(t, never).visit(t, wire.Hello{Holder: "me@here"})
	v.attach(t)
	const many = 30
	pool := v.manager.server.pool
	conns := dialMany(t, many)
	eventually(t, "the connections", func() bool { return pool.count() == many })
	pool.setLimit(many)
	conns = append(conns, dialMany(t, 1)...) // it waits for a place
	eventually(t, "the rule to go", func() bool { return !v.armed(t) })
	v.awaitTrouble(t)

	v.comeBack(t, v.goAway(t))
	v.wantNoTrouble(t)
	v.wantArmed(t, false, "back in a crowd")
	if got := greetMany(conns); got["lap"] != len(conns) {
		t.Errorf("of %d connections: %v, want all with the laptop", len(conns), got)
	}
	eventually(t, "the rule to return", func() bool { return v.armed(t) })
}

// TestCrowdWhileAway does not redirect again, however much room there is, while the laptop is away
// for too long. Its return does.
func TestCrowdWhileAway(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	v := startManager(t, soon).visit(t, wire.Hello{Holder: "me@here"})
	v.attach(t)
	v.manager.server.pool.setLimit(4)
	conns := dialMany(t, 8)
	eventually(t, "the rule to go", func() bool { return !v.armed(t) })

	s := v.stayAway(t)
	for _, conn := range conns {
		_ = conn.Close()
	}
	v.manager.server.pool.setLimit(1000)
	v.wantArmed(t, false, "with room, while the laptop is away")

	v.comeBack(t, s)
	eventually(t, "the rule to return", func() bool { return v.armed(t) })
	wantGreeting(t, "lap", "when the laptop is back")
}
