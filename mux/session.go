package mux

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"kdiag/mux/resumable"

	"github.com/hashicorp/yamux"
)

// SessionOptions configures a session.
type SessionOptions struct {
	// Handle answers the peer's requests, each in a goroutine of its own. A *RemoteError that
	// it returns reaches the peer as it is, another error as text.
	Handle func(ctx context.Context, name string, body json.RawMessage) (any, error)
	// Event receives the peer's events, one after the other. It must not block.
	Event func(name string, body json.RawMessage)
	// Log receives errors that nobody else hears of, and yamux's messages. Nil discards them.
	Log *slog.Logger
	// Heartbeat is the time from one sign of life to the next. Dead is how long the peer may be
	// silent until its connection counts as lost. 0 means 3 s and 10 s.
	Heartbeat, Dead time.Duration
	// Budget bounds what all connections buffer for slow readers. Sessions may share it. Nil
	// means one of DefaultBudget.
	Budget *Budget
	// Window bounds what one connection buffers for a slow reader, in bytes. 0 means
	// DefaultWindow.
	Window int64
	// Buffer bounds what is kept until the peer has it, in bytes. 0 means DefaultBuffer.
	Buffer int64
	// Redial makes a new connection to the manager after the last one was lost. It is called
	// again and again until it succeeds, the session ends, or it returns an error that
	// errors.Is(err, ErrGivenUp). Nil ends the session with its connection. Only a laptop has it.
	Redial func(ctx context.Context) (net.Conn, error)
	// Lost is called when the connection was lost, and Back when there is another one, with the
	// time between. They are called in order and must not block.
	Lost func(cause error)
	Back func(after time.Duration)
}

const (
	// DefaultWindow is what one connection may buffer at most, in bytes.
	DefaultWindow = 16 << 20
	// DefaultBudget is what all of them may buffer, in bytes.
	DefaultBudget = 64 << 20
	// DefaultBuffer is what may be under way to the peer, in bytes.
	DefaultBuffer = 32 << 20
)

// Session carries requests and events both ways between a laptop and a manager, and the
// connections that the manager opens. It outlives the connection that it runs on (see Redial and
// KeepFor). It is safe for concurrent use.
type Session struct {
	id      sessionID
	link    *resumable.Stream
	carrier *carrier
	yamux   *yamux.Session
	control net.Conn
	signals signalQueue
	// signalsOver is closed when all signals were obeyed that came before the session's end.
	signalsOver chan struct{}
	opens       bool // this side opens connections: the manager's
	options     SessionOptions
	ctx         context.Context // ends with the session
	cancel      context.CancelCauseFunc
	goroutines  sync.WaitGroup

	credential credential // to redial
	outage     outage
	resuming   sync.Mutex // held while the manager replaces the connection

	writeLock sync.Mutex // keeps control messages apart
	lastID    atomic.Uint64

	held heldBytes

	opening     sync.Mutex // held while yamux opens a stream
	accepted    acceptQueue
	peerInitial atomic.Uint32 // what new connections begin with, as the peer said
	ownInitial  atomic.Uint32 // what this side said last

	mu           sync.Mutex
	pendingCalls map[uint64]chan message
	requests     int // that are being answered
	lanes        map[uint32]*lane
	freeLanes    []*lane
	fewestFree   int // since trimLanes looked last
}

// Client makes a session on the laptop's side: it answers the manager's challenge, and sets up
// TLS, yamux and the control stream. own is the user's key, and hash the HashKey of the
// manager's. Client owns conn from then on, and closes it even if it fails. ctx limits only how
// long Client may take.
func Client(ctx context.Context, conn net.Conn, own ed25519.PrivateKey, hash string, o SessionOptions) (*Session, error) {
	id, err := newSessionID()
	if err != nil {
		_ = conn.Close()
		return nil, err
	}

	keys := credential{own, hash}
	ready, received, err := keys.join(ctx, conn, hello{kind: helloNew, id: id})
	if err != nil {
		return nil, err
	}

	s := newSession(id, o)
	s.credential = keys
	if err := s.begin(ctx, ready, received, yamux.Client, s.openControl); err != nil {
		return nil, err
	}

	return s, nil
}

// newSession makes a session that has not begun.
func newSession(id sessionID, o SessionOptions) *Session {
	o = o.withDefaults()
	s := &Session{
		id: id, options: o, pendingCalls: map[uint64]chan message{}, lanes: map[uint32]*lane{},
		accepted: acceptQueue{came: make(chan struct{}, 1)}, signalsOver: make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.peerInitial.Store(defaultInitial)
	s.ownInitial.Store(defaultInitial)

	s.held.budget = o.Budget
	s.link = resumable.New(resumable.Options{
		Buffer: o.Buffer, Heartbeat: o.Heartbeat, Dead: o.Dead, OnLost: s.handleLost,
	})
	s.carrier = &carrier{link: s.link, guard: frameGuard{arrived: s.noteArrived}, endConns: s.endConns}
	s.signals.written.L = &s.signals.mu
	context.AfterFunc(s.ctx, s.stopExpiry)
	return s
}

// startFunc is yamux.Client or yamux.Server.
type startFunc = func(conn io.ReadWriteCloser, config *yamux.Config) (*yamux.Session, error)

// begin starts yamux on the first connection, and everything that runs as long as the session. It
// ends the session if it fails.
func (s *Session) begin(ctx context.Context, conn net.Conn, peerReceived uint64, start startFunc, control func(context.Context) error) error {
	var err error
	if s.yamux, err = start(s.carrier, yamuxConfig(s.options)); err == nil {
		err = s.link.Resume(conn, peerReceived)
	}
	if err != nil {
		s.endSession(err)
		return err
	}

	if err := control(ctx); err != nil {
		err = s.wrapError("begin a session", err)
		_ = s.Close()
		return err
	}

	s.goroutines.Go(s.readControl)
	s.goroutines.Go(s.readSignals)
	s.goroutines.Go(s.keepHouse)
	s.goroutines.Go(s.watchStreams)
	return nil
}

// openControl opens the two streams that every session has.
func (s *Session) openControl(context.Context) error {
	return s.setOwnStreams(s.yamux.Open)
}

// setOwnStreams gets the control stream and the one for signals.
func (s *Session) setOwnStreams(get func() (net.Conn, error)) error {
	for _, stream := range []*net.Conn{&s.control, &s.signals.stream} {
		got, err := get()
		if err != nil {
			return err
		}
		*stream = countedStream{got, &s.held}
	}
	return nil
}

// acceptControl accepts the two streams that every session has.
func (s *Session) acceptControl(ctx context.Context) error {
	return s.setOwnStreams(func() (net.Conn, error) { return s.yamux.AcceptStreamWithContext(ctx) })
}

// withDefaults replaces zero values by their defaults.
func (o SessionOptions) withDefaults() SessionOptions {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Handle == nil {
		o.Handle = func(_ context.Context, name string, _ json.RawMessage) (any, error) {
			return nil, fmt.Errorf("this side takes no requests: %s", name)
		}
	}
	if o.Event == nil {
		o.Event = func(string, json.RawMessage) {}
	}
	if o.Lost == nil {
		o.Lost = func(error) {}
	}
	if o.Back == nil {
		o.Back = func(time.Duration) {}
	}

	if o.Budget == nil {
		o.Budget = NewBudget(DefaultBudget, 0)
	}
	if o.Window == 0 {
		o.Window = DefaultWindow
	}
	if o.Buffer == 0 {
		o.Buffer = DefaultBuffer
	}
	return o
}

// Done returns a channel that is closed when the session has ended. Err then says why.
func (s *Session) Done() <-chan struct{} { return s.ctx.Done() }

// Err says why the session has ended: net.ErrClosed after Close, ErrPeerEnded, ErrGone, or what
// happened to its connection. It returns nil before that.
func (s *Session) Err() error { return context.Cause(s.ctx) }

// SilentFor returns how long nothing has come from the peer.
func (s *Session) SilentFor() time.Duration { return s.link.SilentFor() }

// Connected reports whether the session has a connection now.
func (s *Session) Connected() bool { return s.link.Connected() }

// SetBuffer changes SessionOptions.Buffer of a session that has begun.
func (s *Session) SetBuffer(size int64) { s.link.SetBuffer(size) }

// closeTimeout limits how long Close waits until the last bytes have reached the peer.
const closeTimeout = 2 * time.Second

// Close ends the session, resets all of its connections, and waits until all of its goroutines have
// ended, so Handle, Event, Lost and Back must not call it. It sends first what was written to the
// control stream.
func (s *Session) Close() error {
	s.setCause(net.ErrClosed)
	s.endConns()

	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	s.signals.awaitWritten(ctx)
	_ = s.link.Shutdown(ctx)

	s.endSession(net.ErrClosed)
	s.goroutines.Wait()
	return nil
}

// endSession ends the session for a cause, without waiting.
func (s *Session) endSession(cause error) {
	s.setCause(cause)
	s.endConns()
	s.link.Fail(cause)
	s.held.release()
	if s.yamux != nil {
		// Its reader closes it. From here Close would have to wait for the reader first, and all
		// that wait for data spin meanwhile.
		<-s.yamux.CloseChan()
		_ = s.yamux.Close()
	}
}

// endConns ends every connection.
func (s *Session) endConns() {
	for _, conn := range s.listConns() {
		conn.endWithSession()
	}
}

// listConns returns every connection.
func (s *Session) listConns() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	var conns []*Conn
	for _, l := range s.lanes {
		if l.conn != nil {
			conns = append(conns, l.conn)
		}
	}
	return conns
}

// setCause sets why the session ends, and ends its context. Only the first cause counts.
func (s *Session) setCause(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel(cause)
}

// runTracked runs f in a goroutine that Close waits for, unless the session has ended.
func (s *Session) runTracked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.ctx.Err() == nil {
		s.goroutines.Go(f)
	}
}

// watchStreams ends the session when yamux has ended.
func (s *Session) watchStreams() {
	select {
	case <-s.ctx.Done():
	case <-s.yamux.CloseChan():
		cause := s.endCause()
		if errors.Is(cause, ErrPeerEnded) {
			s.acknowledgeEnd(cause)
		}
		s.endSession(cause)
	}
}

// acknowledgeEnd lets the peer know that its end has come, and ends the session on this side, too.
// The peer closes the connection then: it takes a second through a port-forward otherwise.
func (s *Session) acknowledgeEnd(cause error) {
	s.setCause(cause)
	s.endConns()

	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = s.link.Shutdown(ctx)
}

// ErrPeerEnded ends a session that the other side has ended.
var ErrPeerEnded = errors.New("the other side ended the session")

// errStreamsEnded ends a session whose peer does not keep to yamux.
var errStreamsEnded = errors.New("the other side broke the protocol of streams")

// endCause says why yamux has ended.
func (s *Session) endCause() error {
	switch err := s.carrier.readError(); {
	case errors.Is(err, io.EOF):
		return ErrPeerEnded
	case err != nil:
		return err
	}
	return errStreamsEnded
}

// houseInterval is the time from one look at what is unused to the next.
const houseInterval = time.Second

// keepHouse gives back what is unused, until the session ends.
func (s *Session) keepHouse() {
	tick := time.NewTicker(houseInterval)
	defer tick.Stop()

	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		}

		if s.opens {
			s.trimLanes()
		}
		if s.options.Budget.scarce() {
			s.revokeCredits()
		}
	}
}

// revokeCredits takes back what idle connections do not use.
func (s *Session) revokeCredits() {
	for _, conn := range s.listConns() {
		conn.revokeCredit()
	}
	s.signals.flush()
}
