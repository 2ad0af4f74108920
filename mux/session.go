package mux

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

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
	// Heartbeat is the time from one heartbeat to the next. Dead is how long the peer may be
	// silent until the session ends. 0 means DefaultHeartbeat and DefaultDead.
	Heartbeat, Dead time.Duration
	// Window is how much of each stream this side buffers for a slow reader, in bytes. It is
	// at least DefaultWindow.
	Window uint32
	// Budget limits how much all streams together buffer for slow readers, in bytes. If it
	// stays spent, the stream that has gone unread for longest is reset. 0 means no limit but
	// Window.
	Budget int64
}

const (
	// DefaultHeartbeat is well below DefaultDead.
	DefaultHeartbeat = 3 * time.Second
	// DefaultDead finds a dead peer within 10 s. Any byte counts as a sign of life, so a busy
	// connection does not look dead.
	DefaultDead = 10 * time.Second
	// DefaultWindow is yamux's own. It limits one stream to 2.5 MB/s at a round trip of 100 ms.
	DefaultWindow = 256 << 10
)

// ErrPeerDead ends a session whose peer has been silent for SessionOptions.Dead.
var ErrPeerDead = errors.New("the other side has been silent")

// Session carries requests and events both ways between a laptop and a manager, and the streams
// that the manager opens, all over one connection. It is safe for concurrent use.
type Session struct {
	yamux      *yamux.Session
	conn       *batchedConn
	budget     *readBudget // nil for no limit
	control    net.Conn
	options    SessionOptions
	ctx        context.Context // ends with the session
	cancel     context.CancelCauseFunc
	goroutines sync.WaitGroup

	writeLock sync.Mutex // keeps control messages apart
	lastID    atomic.Uint64

	mu           sync.Mutex
	pendingCalls map[uint64]chan message
	conns        map[uint32]*Conn
	newest       uint32          // highest ID of a stream that was accepted or opened
	early        map[uint32]bool // IDs of streams that were reset before they were accepted
}

// Client makes a session on the laptop's side: it answers the manager's challenge, and sets up
// TLS, yamux and the control stream. own is the user's key, and hash the HashKey of the
// manager's. Client owns conn from then on, and closes it even if it fails. ctx limits only how
// long Client may take.
func Client(ctx context.Context, conn net.Conn, own ed25519.PrivateKey, hash string, o SessionOptions) (*Session, error) {
	config, err := ClientTLS(own, hash)
	var knocking *knocker
	if err == nil {
		knocking, err = hearChallenge(ctx, conn, own, hash)
	}

	if err != nil {
		_ = conn.Close()
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, err
	}

	// A manager that rejects the knock closes the connection without an answer.
	s, err := newClient(ctx, knocking, config, o)
	if err != nil && ctx.Err() == nil && !knocking.answered.Load() {
		err = &TurnedAwayError{err}
	}

	return s, err
}

// newClient does the rest of Client after the challenge: TLS, yamux and the control stream.
func newClient(ctx context.Context, conn net.Conn, config *tls.Config, o SessionOptions) (*Session, error) {
	return newSession(ctx, tls.Client(conn, config), o, yamux.Client, func(s *Session) (net.Conn, error) { return s.yamux.Open() })
}

// Server makes a session on the manager's side, once a Door has verified the knock. Like
// Client, it owns conn from then on.
func Server(ctx context.Context, conn net.Conn, config *tls.Config, o SessionOptions) (*Session, error) {
	return newSession(ctx, tls.Server(conn, config), o, yamux.Server, func(s *Session) (net.Conn, error) {
		return s.yamux.AcceptStreamWithContext(ctx)
	})
}

// These differ between the two sides: how yamux starts, and who opens the control stream.
type (
	startFunc   = func(conn io.ReadWriteCloser, config *yamux.Config) (*yamux.Session, error)
	controlFunc = func(*Session) (net.Conn, error)
)

// newSession makes a session of a connection, and closes the connection if that fails.
func newSession(ctx context.Context, conn *tls.Conn, o SessionOptions, start startFunc, control controlFunc) (*Session, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.NetConn().Close() })
	defer stop()

	s, err := beginSession(ctx, conn, o.withDefaults(), start, control)
	if err == nil && stop() {
		return s, nil
	}
	if s != nil {
		_ = s.Close()
	}

	_ = conn.NetConn().Close()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}

	return nil, err
}

// beginSession does TLS, starts yamux and the control stream, and begins to read and to send
// heartbeats.
func beginSession(ctx context.Context, conn *tls.Conn, o SessionOptions, start startFunc, control controlFunc) (*Session, error) {
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}

	s := &Session{options: o, pendingCalls: map[uint64]chan message{}, conns: map[uint32]*Conn{}, early: map[uint32]bool{}}
	s.ctx, s.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	if o.Budget > 0 {
		s.budget = newReadBudget(o.Budget, s.resetSlowest)
	}

	s.conn = newBatchedConn(conn, s.budget, s.ctx.Done())
	var err error
	if s.yamux, err = start(s.conn, yamuxConfig(o)); err != nil {
		_ = s.conn.Close()
		return nil, err
	}

	if s.control, err = control(s); err == nil {
		s.control = countedConn{s.control, s.budget}
		err = s.exchangePrefaces()
	}

	if err != nil {
		_ = s.yamux.Close()
		return nil, err
	}

	s.goroutines.Go(s.readControl)
	s.goroutines.Go(s.sendHeartbeats)
	s.goroutines.Go(s.watchPeer)

	return s, nil
}

// exchangePrefaces writes this side's preface and reads the peer's. It writes first, so that both
// sides learn of it if their versions differ.
func (s *Session) exchangePrefaces() error {
	if err := writePreface(s.control); err != nil {
		return fmt.Errorf("write the preface: %w", err)
	}
	return readPreface(s.control)
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
	if o.Heartbeat == 0 {
		o.Heartbeat = DefaultHeartbeat
	}
	if o.Dead == 0 {
		o.Dead = DefaultDead
	}

	o.Window = max(o.Window, DefaultWindow)
	return o
}

// Done returns a channel that is closed when the session has ended. Err then says why.
func (s *Session) Done() <-chan struct{} { return s.ctx.Done() }

// Err says why the session has ended: net.ErrClosed after Close, ErrPeerDead, or the connection's
// error. It returns nil before that.
func (s *Session) Err() error { return context.Cause(s.ctx) }

// Close ends the session, resets all of its streams, and waits until all of its goroutines have
// ended, so Handle and Event must not call it. It sends first what was written to the control
// stream.
func (s *Session) Close() error {
	s.endSession(net.ErrClosed)
	s.goroutines.Wait()
	return nil
}

// endSession ends the session for a cause, without waiting.
func (s *Session) endSession(cause error) {
	s.setCause(cause)
	_ = s.yamux.Close()
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

// watchPeer ends the session when the peer has been silent for too long, or yamux has ended.
func (s *Session) watchPeer() {
	timer := time.NewTimer(s.options.Dead)
	defer timer.Stop()

	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.yamux.CloseChan():
			s.endSession(errLinkLost)
			return
		case <-timer.C:
			left := s.options.Dead - s.conn.silentFor()
			if left <= 0 {
				s.setCause(fmt.Errorf("%w for %s", ErrPeerDead, s.options.Dead))
				// Close the connection first: nobody takes what is pending any more.
				_ = s.conn.Conn.Close()
				_ = s.yamux.Close()
				return
			}

			timer.Reset(left)
		}
	}
}

// errLinkLost ends a session whose connection broke, or whose peer closed it.
var errLinkLost = errors.New("the connection to the other side was lost")

// countedConn is the control stream. Its bytes count in the budget, too.
type countedConn struct {
	net.Conn
	budget *readBudget
}

func (c countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.budget != nil {
		c.budget.countRead(n)
	}

	return n, err
}

// resetSlowest resets the stream that has gone unread for longest.
func (s *Session) resetSlowest() {
	s.mu.Lock()
	var slowest *Conn
	var longest time.Duration
	for _, conn := range s.conns {
		if d := conn.unreadFor(); d > longest {
			slowest, longest = conn, d
		}
	}
	s.mu.Unlock()

	if slowest != nil {
		s.options.Log.Warn("reset a stream that nobody reads from", "for", longest)
		slowest.breakOff()
	}
}

// sendHeartbeats sends heartbeats until the session ends.
func (s *Session) sendHeartbeats() {
	tick := time.NewTicker(s.options.Heartbeat)
	defer tick.Stop()

	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
			if err := s.sendMessage(message{Kind: kindHeartbeat}); err != nil {
				return
			}
		}
	}
}
