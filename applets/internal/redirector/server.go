// Package redirector is the manager's work in the pod: it serves its user's
// sessions, puts their redirects into the kernel, and sends each redirected
// connection to the laptop as a stream.
package redirector

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"kdiag/mux"
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
}

// Mark is the SO_MARK of what the manager itself sends, which is never
// redirected: "kd".
const Mark = 0x6b64

// Server serves sessions.
type Server struct {
	config Config
	tls    *tls.Config
	table  *table
	gate   gate
	// proxier shares its buffers among all of the manager's connections.
	proxier mux.Proxier

	mu       sync.Mutex
	sessions int
	port     uint16 // the manager's own, which is never redirected
}

// New makes a Server. Close it when it serves no more. It is to be made before
// the process opens anything else (see reserve).
func New(c Config) (*Server, error) {
	config, err := mux.ServerTLS(c.Key, c.User)
	if err != nil {
		return nil, err
	}
	return &Server{config: c, tls: config, table: newTable(c.ID, c.Log)}, nil
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

// Serve takes connections from listener until ctx ends, and then until the
// sessions have ended.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	if address, ok := listener.Addr().(*net.TCPAddr); ok {
		s.mu.Lock()
		s.port = uint16(address.Port)
		s.mu.Unlock()
	}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	var all sync.WaitGroup
	defer all.Wait()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			// What may pass, such as too many open files, must not end the manager.
			s.config.Log.Warn("accept", "err", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		all.Go(func() { s.serve(ctx, conn) })
	}
}

// budget is how much of what the laptop sends a session holds for callers that
// are slow to take it, in bytes: part of the pod's memory.
const budget = 8 << 20

// handshakeTimeout bounds a peer's way to prove who it is.
const handshakeTimeout = 10 * time.Second

func (s *Server) serve(ctx context.Context, conn net.Conn) {
	leave := s.gate.enter(conn)
	ready, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	u := &user{server: s, begun: make(chan struct{}), redirects: map[uint32]*redirect{}}
	link, err := mux.Server(ready, conn, s.tls, mux.Options{Handle: u.handle, Log: s.config.Log, Budget: budget})
	leave()
	if err != nil {
		s.config.Log.Warn("refused", "peer", conn.RemoteAddr().String(), "err", err)
		return
	}
	s.count(1)
	defer s.count(-1)
	u.begin(link)
	select {
	case <-link.Done():
	case <-ctx.Done():
	}
	u.end()
	_ = link.Close()
}

// isOwn reports whether a port is the one that the manager serves at.
func (s *Server) isOwn(port uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return port == s.port
}

func (s *Server) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions += n
}

// gate bounds the peers that have yet to prove who they are. Anything in the
// pod can dial the manager: where too many wait, the one that has waited
// longest goes, so that nobody can hold the gate shut.
type gate struct {
	mu      sync.Mutex
	waiting []net.Conn
}

const maxWaiting = 16

// enter admits a connection; leave is for when it is known who it is.
func (g *gate) enter(conn net.Conn) (leave func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == maxWaiting {
		_ = g.waiting[0].Close()
		g.waiting = g.waiting[1:]
	}
	g.waiting = append(g.waiting, conn)
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		for i, other := range g.waiting {
			if other == conn {
				g.waiting = append(g.waiting[:i:i], g.waiting[i+1:]...)
				return
			}
		}
	}
}

// refusal is an error for the user, with a code for the program.
func refusal(code, hint, format string, args ...any) error {
	return &mux.RemoteError{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// direction is netfilter's word for a request.
func direction(a mux.Attach) netfilter.Direction {
	if a.Outgoing {
		return netfilter.Outgoing
	}
	return netfilter.Incoming
}
