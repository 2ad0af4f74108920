// Package redirectserver is the manager's work in the pod: it serves its user's
// sessions, puts their redirects into the kernel, and sends each redirected
// connection to the laptop as a stream.
package redirectserver

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"kdiag/mux"
	"kdiag/mux/wire"
	"kdiag/netfilter"
)

// Config is what a Server is made of.
type Config struct {
	// Key is the manager's own, User the public key of the only user it serves,
	// as mux.PublicText writes it.
	Key  ed25519.PrivateKey
	User string
	// Version is this binary's.
	Version string
	// ID tells this manager's rules in the kernel from others': [a-z0-9]{1,12}.
	ID  string
	Log *slog.Logger
	// OpenBackend and OriginalDestination are netfilter's where they are nil. A
	// test without a network namespace of its own has others.
	OpenBackend         func(name string, c netfilter.Config) (netfilter.Backend, error)
	OriginalDestination func(conn syscall.Conn) (netip.AddrPort, error)
}

// Mark is the SO_MARK of what the manager itself sends, which is never
// redirected: "kd".
const Mark = 0x6b64

// Server serves sessions.
type Server struct {
	config Config
	table  *table
	gate   *gate
	// files are the descriptors that redirected connections may have.
	files quota
	// proxier shares its buffers among all of the manager's connections.
	proxier mux.Proxier

	mu       sync.Mutex
	sessions int
	ports    []uint16 // the manager's own, which are never redirected
}

// New makes a Server. Close it when it serves no more. It is to be made before
// the process opens anything else (see reserve).
func New(c Config) (*Server, error) {
	if c.OpenBackend == nil {
		c.OpenBackend = netfilter.Open
	}
	if c.OriginalDestination == nil {
		c.OriginalDestination = netfilter.OriginalDestination
	}

	files := descriptorLimit()
	gate, err := newGate(c.Key, c.User, files)
	if err != nil {
		return nil, err
	}
	s := &Server{config: c, gate: gate, table: newTable(c)}
	s.files.left.Store(int64(files - files/4)) // what is left is the gate's, and the rest's
	return s, nil
}

// Close takes every rule away.
func (s *Server) Close() error { return s.table.close() }

// Busy reports whether a session is there, or a redirected connection still
// flows.
func (s *Server) Busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions > 0 || s.table.inUse()
}

// Serve takes laptops' connections from listener, and those of version 1 of the
// protocol from older, until ctx ends, and then until the sessions have ended.
func (s *Server) Serve(ctx context.Context, listener, older net.Listener) error {
	s.keepPorts(listener, older)
	stop := context.AfterFunc(ctx, func() {
		_ = listener.Close()
		_ = older.Close()
		s.gate.shut()
	})
	defer stop()

	var all sync.WaitGroup
	all.Go(func() {
		s.accept(ctx, older, func(conn net.Conn) { all.Go(func() { s.turnBack(ctx, conn) }) })
	})
	s.accept(ctx, listener, func(conn net.Conn) {
		if challenge, ok := s.greet(conn); ok {
			all.Go(func() { s.receive(ctx, conn, challenge) })
		}
	})

	all.Wait()
	return nil
}

// accept has take take each connection, until ctx has ended.
func (s *Server) accept(ctx context.Context, listener net.Listener, take func(net.Conn)) {
	for {
		conn, err := listener.Accept()
		switch {
		case err == nil:
			take(conn)
		case ctx.Err() != nil:
			return
		default:
			// What may pass, such as too many open files, must not end the manager.
			s.config.Log.Warn("accept", "err", err)
			s.gate.thin()
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// budget is how much of what the laptop sends a session holds for callers that
// are slow to take it, in bytes: part of the pod's memory.
const budget = 8 << 20

// maxSessions bounds the user's sessions, each of which costs the pod memory.
const maxSessions = 32

// turnBack tells a laptop of version 1 that it is too old.
func (s *Server) turnBack(ctx context.Context, conn net.Conn) {
	if err := s.gate.tellVersion(ctx, conn, mux.Options{Log: s.config.Log}); err != nil {
		s.refused(conn, err)
	}
}

func (s *Server) refused(conn net.Conn, err error) {
	s.config.Log.Warn("refused", "peer", conn.RemoteAddr().String(), "err", err)
}

// greet says the challenge to whoever has connected.
func (s *Server) greet(conn net.Conn) (challenge mux.Challenge, ok bool) {
	challenge, err := s.gate.greet(conn)
	if err != nil {
		dismiss(conn)
		s.refused(conn, err)
	}
	return challenge, err == nil
}

// receive serves a connection if it turns out to be a laptop's.
func (s *Server) receive(ctx context.Context, conn net.Conn, challenge mux.Challenge) {
	if err := s.gate.hear(conn, challenge); err != nil {
		s.refused(conn, err)
		return
	}
	s.serve(ctx, conn)
}

// serve serves a laptop that has knocked.
func (s *Server) serve(ctx context.Context, conn net.Conn) {
	u := &user{server: s, begun: make(chan struct{}), redirects: map[uint32]*redirect{}}
	link, err := s.gate.handshake(ctx, conn, &s.gate.knocked, mux.Options{Handle: u.handle, Log: s.config.Log, Budget: budget})
	if err != nil {
		s.refused(conn, err)
		return
	}

	u.surplus = s.count(1) > maxSessions
	defer s.count(-1)
	u.begin(link)
	select {
	case <-link.Done():
	case <-ctx.Done():
	}

	u.end()
	_ = link.Close()
}

// keepPorts remembers where the manager itself listens.
func (s *Server) keepPorts(listeners ...net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, listener := range listeners {
		if address, ok := listener.Addr().(*net.TCPAddr); ok {
			s.ports = append(s.ports, uint16(address.Port))
		}
	}
}

// isOwn reports whether a port is one that the manager serves at.
func (s *Server) isOwn(port uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.ports, port)
}

// count adds to the number of sessions, and returns it.
func (s *Server) count(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions += n
	return s.sessions
}

// refusal is an error for the user, with a code for the program.
func refusal(code, hint, format string, args ...any) error {
	return &mux.RemoteError{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// direction is netfilter's word for a request.
func direction(a wire.Attach) netfilter.Direction {
	if a.Outgoing {
		return netfilter.Outgoing
	}
	return netfilter.Incoming
}
