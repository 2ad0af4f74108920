package mux

import (
	"encoding/binary"
	"sync"
	"time"
)

// readBudget limits how many received bytes a session's streams hold together until somebody
// reads them. yamux limits each stream alone, by its window: a thousand streams could hold 256
// MiB. While the budget is spent the connection is not read, so the peer's writes wait as on a
// slow network.
type readBudget struct {
	limit int64
	// overdrawn is called when the budget stays spent for starvationTime: whoever should
	// read does not.
	overdrawn func()

	mu     sync.Mutex
	unread int64
	freed  chan struct{} // closed and replaced when unread shrinks to the limit

	// These describe the frame that is being received. Only the goroutine that reads the
	// connection uses them.
	header [frameHeaderSize]byte
	have   int   // bytes of header
	body   int64 // bytes of the frame's body that are still to come
}

// starvationTime limits how long the connection may go unread. It is well below the time after
// which a silent peer counts as dead.
const starvationTime = time.Second

// newReadBudget makes a budget of limit bytes.
func newReadBudget(limit int64, overdrawn func()) *readBudget {
	return &readBudget{limit: limit, overdrawn: overdrawn, freed: make(chan struct{})}
}

// countReceived counts the bodies of data frames among the bytes that were received.
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
		if b.header[frameTypeAt] == frameData {
			b.body = int64(binary.BigEndian.Uint32(b.header[frameLengthAt:]))
			sum += b.body
		}
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	b.unread += sum
}

// countRead counts the bytes that were read from a stream.
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

// waitForRoom waits until the budget has room, or ended is closed. It calls overdrawn and
// returns if that takes too long.
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
