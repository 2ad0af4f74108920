package redirectserver

import (
	"container/list"
	"context"
	"crypto/ed25519"
	"errors"
	"net"
	"sync"
	"time"

	"kdiag/mux"
)

// A gate lets the user's laptops in to a session and nobody else. Anything in the pod can dial the
// manager, so a peer may have more the more it has proved: at first a place to wait and a few
// bytes, and TLS only after a knock that nobody but the user can have made.
type gate struct {
	door *mux.Door
	host *mux.Host
	// unknown holds the connections that have not knocked yet, knocked those that have, and older
	// those that came to the port for laptops of version 1.
	unknown, knocked, older waitingRoom
	olderRate               rateLimit
}

const (
	// maxUnknown leaves a laptop time to answer the challenge, which takes a round trip: 200
	// strangers a second need 2.5 s to take all places.
	maxUnknown = 512
	maxKnocked = 64
	maxOlder   = 4
	// olderEvery is how often one more laptop of an older version may try.
	olderEvery = 500 * time.Millisecond
	// handshakeTimeout bounds each of two steps: the knock, and the rest.
	handshakeTimeout = 10 * time.Second
)

// newGate makes the gate of a process that may open a number of files.
func newGate(own ed25519.PrivateKey, user string, files int) (*gate, error) {
	door, err := mux.NewDoor(own, user)
	if err != nil {
		return nil, err
	}

	host, err := mux.NewHost(own, user)
	if err != nil {
		return nil, err
	}

	return &gate{
		door: door, host: host,
		unknown:   waitingRoom{size: max(min(maxUnknown, files/8), 1)},
		knocked:   waitingRoom{size: max(min(maxKnocked, files/16), 1)},
		older:     waitingRoom{size: maxOlder},
		olderRate: rateLimit{burst: maxOlder, every: olderEvery},
	}, nil
}

// sendChallenge sends the challenge. The accept loop calls it, whose stack is large already: a
// goroutine that only waits for the answer then has a small one.
func (g *gate) sendChallenge(conn net.Conn) (mux.Challenge, error) {
	_ = conn.SetDeadline(time.Now().Add(handshakeTimeout))
	return g.door.SendChallenge(conn)
}

// awaitKnock waits for the knock, handshakeTimeout at most after the challenge. It closes a
// connection that does not knock.
func (g *gate) awaitKnock(conn net.Conn, challenge mux.Challenge) error {
	defer g.unknown.admitConnection(conn)()

	err := g.door.VerifyKnock(conn, challenge)
	if errors.Is(err, net.ErrClosed) {
		return errCrowded
	}
	if err != nil {
		resetConnection(conn)
		return err
	}

	return conn.SetDeadline(time.Time{})
}

// errCrowded says that a waiting room closed a connection to make room.
var errCrowded = errors.New("closed to make room: it had waited longest")

// receiveSession makes a session of a connection, or gives the connection to the session that it
// belongs to; then it returns nil. The connection has a place in a waiting room meanwhile.
func (g *gate) receiveSession(ctx context.Context, conn net.Conn, o mux.SessionOptions) (*mux.Session, error) {
	defer g.knocked.admitConnection(conn)()

	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()

	return g.host.Receive(ctx, conn, o)
}

var errTooManyOlder = errors.New("too many connections to the port for older versions")

// tellVersion lets a laptop of version 1 learn that this is another version. Such a laptop begins
// with TLS and has proved nothing, so there may be few at a time.
func (g *gate) tellVersion(ctx context.Context, conn net.Conn) error {
	if !g.olderRate.allowOne() {
		resetConnection(conn)
		return errTooManyOlder
	}
	defer g.older.admitConnection(conn)()

	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()

	return g.host.TellVersion(ctx, conn)
}

// closeRooms closes the connections that wait, and those that are yet to come.
func (g *gate) closeRooms() {
	for _, r := range []*waitingRoom{&g.unknown, &g.knocked, &g.older} {
		r.closeRoom()
	}
}

// evictUnknown closes half of the connections that have proved nothing, to free their file
// descriptors for others.
func (g *gate) evictUnknown() { g.unknown.evictDownTo(g.unknown.size / 2) }

// resetConnection closes a connection with a reset, so that nothing of it is left: no TIME-WAIT,
// and nothing of what the peer has sent.
func resetConnection(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// A waitingRoom holds connections that wait for the same step. When it is full, it closes the one
// that has waited longest: nobody can keep others out, and whoever needs a moment has one.
type waitingRoom struct {
	size int

	mu      sync.Mutex
	waiting list.List // of net.Conn, the oldest first
	closed  bool
}

// admitConnection gives a connection a place, until leave is called.
func (r *waitingRoom) admitConnection(conn net.Conn) (leave func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		resetConnection(conn)
		return func() {}
	}

	if r.waiting.Len() >= r.size {
		r.evictOldest()
	}

	place := r.waiting.PushBack(conn)

	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.waiting.Remove(place)
	}
}

// evictOldest closes the connection that has waited longest. mu is held, and there is one.
func (r *waitingRoom) evictOldest() {
	oldest := r.waiting.Front()
	if conn, ok := oldest.Value.(net.Conn); ok {
		resetConnection(conn)
	}
	r.waiting.Remove(oldest)
}

// evictDownTo closes connections, the oldest first, until no more than rest are left.
func (r *waitingRoom) evictDownTo(rest int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.waiting.Len() > rest {
		r.evictOldest()
	}
}

// closeRoom closes every connection in the room, and each that comes later.
func (r *waitingRoom) closeRoom() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()

	r.evictDownTo(0)
}

// A rateLimit allows something burst times at once, and then once every interval.
type rateLimit struct {
	burst int
	every time.Duration

	mu   sync.Mutex
	used int
	last time.Time // when used went down
}

// allowOne reports whether it is allowed once more, and counts that.
func (r *rateLimit) allowOne() bool {
	r.mu.Lock()
	defer r.mu.Unlock()

	now := time.Now()
	if back := int(now.Sub(r.last) / r.every); back > 0 {
		r.used, r.last = max(r.used-back, 0), now
	}

	if r.used >= r.burst {
		return false
	}

	r.used++
	return true
}
