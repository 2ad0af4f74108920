package mux

import (
	"encoding/binary"
	"sync"
	"time"
)

// readBudget bounds what a session's streams hold that came from the peer and that
// nobody has read yet. Yamux bounds each stream alone, by its window; a thousand
// of them would be 256 MiB. When the budget is spent the link is not read from:
// the peer's writes wait, as on a slow network.
type readBudget struct {
	limit int64
	// overdrawn is called when the budget stays spent for patience: those who
	// should read do not.
	overdrawn func()

	mu     sync.Mutex
	unread int64
	freed  chan struct{} // closed, and made anew, when unread shrinks

	// The frame that is being received (yamux, spec.md); of one goroutine.
	header [frameHeaderSize]byte
	have   int   // bytes of header
	body   int64 // bytes of the frame's body that are still to come
}

const (
	frameHeaderSize = 12
	frameTypeData   = 0
	// starvationTime is how long a link may go unread. It is well below the time
	// after which a silent peer counts as dead.
	starvationTime = time.Second
)

func newReadBudget(limit int64, overdrawn func()) *readBudget {
	return &readBudget{limit: limit, overdrawn: overdrawn, freed: make(chan struct{})}
}

// countReceived counts the bodies of the data frames in what came off the link.
func (b *readBudget) countReceived(p []byte) {
	var sum int64
	for len(p) > 0 {
		if b.body > 0 {
			n := min(b.body, int64(len(p)))
			b.body -= n
			p = p[n:]
			continue
		}

		n := copy(b.header[b.have:], p)
		b.have += n
		p = p[n:]
		if b.have < frameHeaderSize {
			break
		}

		b.have = 0
		if b.header[1] == frameTypeData {
			b.body = int64(binary.BigEndian.Uint32(b.header[8:]))
			sum += b.body
		}
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	b.unread += sum
}

// countRead counts what was taken out of a stream.
func (b *readBudget) countRead(n int) {
	if n == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unread -= int64(n)
	if b.unread <= b.limit {
		close(b.freed)
		b.freed = make(chan struct{})
	}
}

// waitForRoom returns when there is budget left, or those who hold it were dealt with,
// or ended is closed.
func (b *readBudget) waitForRoom(ended <-chan struct{}) {
	for {
		b.mu.Lock()
		spent, freed := b.unread > b.limit, b.freed
		b.mu.Unlock()
		if !spent {
			return
		}

		select {
		case <-freed:
		case <-ended:
			return
		case <-time.After(starvationTime):
			b.overdrawn()
			return
		}
	}
}
