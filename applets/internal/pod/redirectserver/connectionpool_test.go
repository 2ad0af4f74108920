package redirectserver

import (
	"context"
	"testing"

	"kdiag/mux/wire"
)

// TestConnectionPool gives out no more places than there are, says when few are left, and tells of
// room once half of them are free.
func TestConnectionPool(t *testing.T) {
	p := newConnectionPool(16) // 12 of them for connections
	p.setLimit(100)
	if got := p.size(); got != 12 {
		t.Errorf("the pool has %d places, want the 12 that the descriptors allow", got)
	}

	p.setLimit(8)
	for i := 1; i <= 10; i++ {
		ok, crowded := p.takeOne()
		if ok != (i <= 8) || crowded != (i > 6) {
			t.Errorf("connection %d: taken %t, crowded %t, want %t, %t", i, ok, crowded, i <= 8, i > 6)
		}
	}

	room, place := p.whenRoom(), p.whenPlace()
	for left := 7; left >= 0; left-- {
		p.giveBack()
		if got := wire.IsClosed(room); got != (left <= 4) {
			t.Errorf("with %d of 8 places taken: room %t, want %t", left, got, left <= 4)
		}
		if !wire.IsClosed(place) {
			t.Errorf("with %d of 8 places taken: no place", left)
		}
	}
	if !wire.IsClosed(p.whenRoom()) {
		t.Error("an empty pool has no room")
	}
}

// TestPoolGrows tells those who wait of room that a larger limit makes.
func TestPoolGrows(t *testing.T) {
	p := newConnectionPool(100)
	p.setLimit(2)
	p.takeOne()
	p.takeOne()

	room := p.whenRoom()
	if wire.IsClosed(room) {
		t.Fatal("a full pool has room")
	}
	p.setLimit(4)
	if !wire.IsClosed(room) {
		t.Error("with 2 of 4 places taken: no room")
	}
}

// TestReservedPlaces gives places beyond the limit to those who wait for one, in their order, and none
// to those who wait no more.
func TestReservedPlaces(t *testing.T) {
	p := newConnectionPool(1000)
	p.setLimit(2)
	for range 2 {
		p.takeOne()
	}
	for range placeReserve {
		if !p.takeReserved(t.Context()) {
			t.Fatal("no reserved place")
		}
	}

	first, left, second := p.queueForReserved(), p.queueForReserved(), p.queueForReserved()
	if ok, _ := p.takeOne(); ok || wire.IsClosed(first) {
		t.Fatal("a full pool has a place")
	}
	if !p.leaveQueue(left) {
		t.Error("who waits has a place already")
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if p.takeReserved(over) {
		t.Error("a place was taken for somebody who does not wait")
	}

	p.giveBack()
	if !wire.IsClosed(first) || wire.IsClosed(second) {
		t.Errorf("one place: first has it %t, second %t", wire.IsClosed(first), wire.IsClosed(second))
	}
	p.giveBack()
	if !wire.IsClosed(second) || wire.IsClosed(left) || p.leaveQueue(second) {
		t.Errorf("another place: second has it %t, who has left %t", wire.IsClosed(second), wire.IsClosed(left))
	}
	if got := p.count(); got != 2+placeReserve {
		t.Errorf("%d places are taken, want %d", got, 2+placeReserve)
	}
}

// TestMemoryPlan takes no more than a third of what the pod may have, and its fixed part.
func TestMemoryPlan(t *testing.T) {
	for _, c := range []struct {
		limit int64
		conns int
	}{
		{0, 4096}, {1 << 40, 4096}, {384 << 20, 4096}, {96 << 20, 1024}, {16 << 20, 170}, {1 << 20, minConnections},
	} {
		plan := planMemory(c.limit)
		if plan.conns != c.conns {
			t.Errorf("a pod of %d bytes: %d connections, want %d", c.limit, plan.conns, c.conns)
		}

		all := int64(plan.conns)*connectionMemory + plan.slow + plan.copies + plan.links
		if part := min(c.limit/3, mostMemory); c.limit >= 16<<20 && all > part {
			t.Errorf("a pod of %d bytes: %d bytes for kdiag, want at most %d", c.limit, all, part)
		}
	}
}
