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

// SessionOptions are what a session needs beside its connection.
type SessionOptions struct {
	// Handle answers the peer's requests, each in a goroutine of its own. A
	// *RemoteError it returns reaches the peer whole, another error as text.
	Handle func(ctx context.Context, name string, body json.RawMessage) (any, error)
	// Event takes the peer's events, one after the other, and must not block.
	Event func(name string, body json.RawMessage)
	// Log takes what goes wrong on the way and what yamux says. Nil is silent.
	Log *slog.Logger
	// Heartbeat is how often each side says that it lives, Dead after how long
	// without a byte from the peer the session ends. Zero values mean
	// DefaultHeartbeat and DefaultDead.
	Heartbeat, Dead time.Duration
	// Window is how much of each stream this side buffers for a slow reader, in
	// bytes; zero means DefaultWindow, which is also the least.
	Window uint32
	// Budget is how much all streams together buffer for slow readers, in bytes.
	// When it stays spent, the stream that has not been read from for longest is
	// reset. Zero means no bound but Window.
	Budget int64
}

const (
	// DefaultHeartbeat is well below DefaultDead.
	DefaultHeartbeat = 3 * time.Second
	// DefaultDead finds a dead peer within 10 s. Any byte counts as life, so a
	// saturated link is not taken for a dead one.
	DefaultDead = 10 * time.Second
	// DefaultWindow is yamux's own. It bounds one stream to 2.5 MB/s at a round
	// trip of 100 ms.
	DefaultWindow = 256 << 10
)

// ErrPeerDead ends a session whose peer was not heard of for SessionOptions.Dead.
var ErrPeerDead = errors.New("the other side has been silent")

// Session is one connection between a laptop and a manager: requests and events
// both ways, and streams that the manager opens. It is safe for concurrent use.
type Session struct {
	yamux   *yamux.Session
	conn    *batchedConn
	budget  *readBudget // nil for none
	control net.Conn
	options SessionOptions
	ctx     context.Context // ends with the session
	cancel  context.CancelCauseFunc
	ended   sync.WaitGroup

	writing sync.Mutex // one message after the other
	lastID  atomic.Uint64

	mu      sync.Mutex
	waiting map[uint64]chan message
	conns   map[uint32]*Conn
	newest  uint32          // the highest stream that was accepted or opened
	early   map[uint32]bool // streams that were reset before they were accepted
}

// Client makes a session of a connection on the laptop's side: the answer to the
// manager's challenge, TLS, yamux, the control stream. own is the user's key,
// hash HashKey of the manager's. The session owns conn from then on, and
// closes it when it fails here too. ctx bounds only the making.
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

	s, err := newClient(ctx, knocking, config, o)
	if err != nil && ctx.Err() == nil && !knocking.answered.Load() {
		err = &TurnedAwayError{err}
	}

	return s, err
}

// newClient is Client without a challenge, from TLS on.
func newClient(ctx context.Context, conn net.Conn, config *tls.Config, o SessionOptions) (*Session, error) {
	return newSession(ctx, tls.Client(conn, config), o, yamux.Client, func(s *Session) (net.Conn, error) { return s.yamux.Open() })
}

// Server is Client on the manager's side, after a Door's Challenge.
func Server(ctx context.Context, conn net.Conn, config *tls.Config, o SessionOptions) (*Session, error) {
	return newSession(ctx, tls.Server(conn, config), o, yamux.Server, func(s *Session) (net.Conn, error) {
		return s.yamux.AcceptStreamWithContext(ctx)
	})
}

type (
	startFunc   = func(conn io.ReadWriteCloser, config *yamux.Config) (*yamux.Session, error)
	controlFunc = func(*Session) (net.Conn, error)
)

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

func beginSession(ctx context.Context, conn *tls.Conn, o SessionOptions, start startFunc, control controlFunc) (*Session, error) {
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}

	s := &Session{options: o, waiting: map[uint64]chan message{}, conns: map[uint32]*Conn{}, early: map[uint32]bool{}}
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

	s.ended.Go(s.readControl)
	s.ended.Go(s.sendHeartbeats)
	s.ended.Go(s.watchPeer)
	return s, nil
}

// exchangePrefaces exchanges the prefaces. It writes before it reads, so that of two
// versions each learns of the other.
func (s *Session) exchangePrefaces() error {
	if err := writePreface(s.control); err != nil {
		return fmt.Errorf("write the preface: %w", err)
	}
	return readPreface(s.control)
}

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

// Done is closed when the session has ended; Err says why.
func (s *Session) Done() <-chan struct{} { return s.ctx.Done() }

// Err is why the session ended: nil before that, net.ErrClosed after Close,
// ErrPeerDead, or what the connection said.
func (s *Session) Err() error { return context.Cause(s.ctx) }

// Close ends the session and all of its streams, as resets, and waits until
// nothing of it runs; it is not for Handle or Event to call. What was written
// to the control stream before is sent.
func (s *Session) Close() error {
	s.endSession(net.ErrClosed)
	s.ended.Wait()
	return nil
}

func (s *Session) endSession(cause error) {
	s.setCause(cause)
	_ = s.yamux.Close()
}

// setCause says why the session ends; the first cause counts.
func (s *Session) setCause(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel(cause)
}

// runTracked has f run in a goroutine that Close waits for. A session that has ended
// runs nothing any more.
func (s *Session) runTracked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() == nil {
		s.ended.Go(f)
	}
}

// watchPeer ends the session when the peer is silent for too long, or yamux ends.
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
				// Nobody takes what is pending, so no waiting for that.
				_ = s.conn.Conn.Close()
				_ = s.yamux.Close()
				return
			}
			timer.Reset(left)
		}
	}
}

var errLinkLost = errors.New("the connection to the other side was lost")

// countedConn is the control stream, whose bytes count towards the budget too.
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

// resetSlowest breaks off the stream that has not been read from for longest.
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

// sendHeartbeats tells the peer that this side lives.
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
