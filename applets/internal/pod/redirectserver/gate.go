package redirectserver

import (
	"container/list"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"kdiag/mux"
)

// gate is what a peer passes on its way to a session. Anything in the pod can
// dial the manager, so what a peer may have grows with what it has proved: at
// first a place to wait and a few bytes, and TLS only after a knock that none but
// the user can have made.
type gate struct {
	door *mux.Door
	tls  *tls.Config
	// unknown are those that have not knocked yet, knocked those that have, and
	// older those that came to the port for laptops of version 1.
	unknown, knocked, older room
	olderRate               rate
}

const (
	// maxUnknown is for the time that a laptop takes to answer the challenge,
	// a round trip from here to there. 200 strangers a second need 2.5 s to take
	// all places.
	maxUnknown = 512
	maxKnocked = 64
	maxOlder   = 4
	// olderEvery is how often one more of an older version may try.
	olderEvery = 500 * time.Millisecond
	// handshakeTimeout bounds each of two steps: the knock, and the rest.
	handshakeTimeout = 10 * time.Second
)

// newGate makes the gate of a process that may open so many files.
func newGate(own ed25519.PrivateKey, user string, files int) (*gate, error) {
	door, err := mux.NewDoor(own, user)
	if err != nil {
		return nil, err
	}

	config, err := mux.ServerTLS(own, user)
	if err != nil {
		return nil, err
	}

	return &gate{
		door: door, tls: config,
		unknown:   room{size: max(min(maxUnknown, files/8), 1)},
		knocked:   room{size: max(min(maxKnocked, files/16), 1)},
		older:     room{size: maxOlder},
		olderRate: rate{most: maxOlder, every: olderEvery},
	}, nil
}

// greet says the challenge. It is for the loop that accepts, whose stack is
// large already: a connection that only waits has a small one.
func (g *gate) greet(conn net.Conn) (mux.Challenge, error) {
	_ = conn.SetDeadline(time.Now().Add(handshakeTimeout))
	return g.door.Challenge(conn)
}

// hear waits for the knock, for which a peer has handshakeTimeout and no more.
// It closes a connection without.
func (g *gate) hear(conn net.Conn, challenge mux.Challenge) error {
	defer g.unknown.enter(conn)()
	err := g.door.Hear(conn, challenge)
	if errors.Is(err, net.ErrClosed) {
		return errCrowded
	}
	if err != nil {
		dismiss(conn)
		return err
	}
	return conn.SetDeadline(time.Time{})
}

// errCrowded is why a room closes a connection.
var errCrowded = errors.New("it had waited longest when others came")

// handshake makes a session of a connection, which waits in a room meanwhile.
func (g *gate) handshake(ctx context.Context, conn net.Conn, where *room, o mux.Options) (*mux.Session, error) {
	defer where.enter(conn)()
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	return mux.Server(ctx, conn, g.tls, o)
}

var errTooManyOlder = errors.New("too many come to the port for older versions")

// tellVersion has a laptop of version 1 learn of this one. It begins with TLS
// and has proved nothing, so there may be few at a time.
func (g *gate) tellVersion(ctx context.Context, conn net.Conn, o mux.Options) error {
	if !g.olderRate.allows() {
		dismiss(conn)
		return errTooManyOlder
	}
	session, err := g.handshake(ctx, conn, &g.older, o)
	if err == nil {
		_ = session.Close() // of this version: not the port for it
	}
	return err
}

// shut closes what waits, and what is yet to come.
func (g *gate) shut() {
	for _, r := range []*room{&g.unknown, &g.knocked, &g.older} {
		r.shut()
	}
}

// thin makes room where a file is wanted: half of those go that have proved
// nothing.
func (g *gate) thin() { g.unknown.evict(g.unknown.size / 2) }

// dismiss closes a connection with a reset, so that nothing of it is left: no
// TIME-WAIT, and nothing of what it has sent.
func dismiss(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// room is where connections wait for one and the same step. When it is full, the
// one that has waited longest is closed: nobody can hold it shut, and whoever
// needs a moment has one.
type room struct {
	size int

	mu      sync.Mutex
	waiting list.List // of net.Conn, the oldest first
	closed  bool
}

// enter lets a connection wait; leave is for when its step is done.
func (r *room) enter(conn net.Conn) (leave func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		dismiss(conn)
		return func() {}
	}

	if r.waiting.Len() >= r.size {
		r.dismissOldest()
	}

	place := r.waiting.PushBack(conn)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.waiting.Remove(place)
	}
}

// dismissOldest is called with mu held, and one waiting.
func (r *room) dismissOldest() {
	oldest := r.waiting.Front()
	if conn, ok := oldest.Value.(net.Conn); ok {
		dismiss(conn)
	}
	r.waiting.Remove(oldest)
}

// evict closes all but so many, the oldest first.
func (r *room) evict(but int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.waiting.Len() > but {
		r.dismissOldest()
	}
}

func (r *room) shut() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.evict(0)
}

// rate allows something so many times at once, and one time more after a while.
type rate struct {
	most  int
	every time.Duration

	mu   sync.Mutex
	used int
	last time.Time // when used went down
}

func (r *rate) allows() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if back := int(now.Sub(r.last) / r.every); back > 0 {
		r.used, r.last = max(r.used-back, 0), now
	}
	if r.used >= r.most {
		return false
	}

	r.used++
	return true
}
