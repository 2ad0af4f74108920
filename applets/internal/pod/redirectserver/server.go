// Package redirectserver does the manager's work in the pod: it serves its user's sessions, puts
// their redirects into the kernel, and sends each redirected connection to the laptop as a stream.
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

// Config says whom a Server serves, and as who.
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
	// OpenBackend and OriginalDestination are netfilter's if they are nil. A test without a
	// network namespace of its own has others.
	OpenBackend         func(name string, c netfilter.Config) (netfilter.Backend, error)
	OriginalDestination func(conn syscall.Conn) (netip.AddrPort, error)
	// DialNameServer connects to the pod's name servers. Nil dials them.
	DialNameServer func(ctx context.Context, network, address string) (net.Conn, error)
	// AwayPatience is how long new connections wait for a laptop that is silent. Then they do what
	// wire.Hello.OnDisconnect says. 0 means 10 s.
	AwayPatience time.Duration
	// PlacePatience is how long connections wait for a place in the pool. 0 means 10 s.
	PlacePatience time.Duration
}

// Mark is the SO_MARK of what the manager itself sends, which is never redirected: "kd".
const Mark = 0x6b64

// A Server serves the sessions of one user.
type Server struct {
	config  Config
	ruleSet *ruleSet
	gate    *gate
	// pool has the places of all redirected connections.
	pool *connectionPool
	// proxier shares its buffers among all of the manager's connections.
	proxier mux.Proxier
	budget  *mux.Budget
	// application takes what goes to the application.
	application *applicationRoute

	mu        sync.Mutex
	sessions  map[*redirectSession]struct{}
	links     int64    // bytes that may be under way to all laptops together
	doorPorts []uint16 // where laptops connect, which are never redirected
}

// New makes a Server. The caller closes it. It must be made before the process opens anything else
// (see descriptorReserve).
func New(c Config) (*Server, error) {
	if c.OpenBackend == nil {
		c.OpenBackend = netfilter.Open
	}
	if c.OriginalDestination == nil {
		c.OriginalDestination = netfilter.OriginalDestination
	}
	if c.DialNameServer == nil {
		c.DialNameServer = dialMarked
	}
	if c.AwayPatience == 0 {
		c.AwayPatience = defaultAwayPatience
	}
	if c.PlacePatience == 0 {
		c.PlacePatience = defaultPlacePatience
	}

	files := descriptorLimit()
	gate, err := newGate(c.Key, c.User, files)
	if err != nil {
		return nil, err
	}

	s := &Server{
		config: c, gate: gate, ruleSet: newRuleSet(c), sessions: map[*redirectSession]struct{}{},
		proxier: mux.Proxier{Memory: copyMemory}, budget: mux.NewBudget(slowCallers, fastCallers),
		pool: newConnectionPool(files),
	}
	s.application = newApplicationRoute(s.ruleSet, &s.proxier, s.pool)
	s.useMemoryOf(0)
	return s, nil
}

// Close resets what still goes to the application, and removes every rule.
func (s *Server) Close() error {
	s.application.close()
	return s.ruleSet.close()
}

// Busy reports whether there are sessions, those of absent laptops too, or redirected connections.
func (s *Server) Busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions) > 0 || s.ruleSet.inUse()
}

// Serve serves the laptops that connect to listener, and turns back those that connect to older,
// which speak version 1 of the protocol. It returns when ctx and then every session has ended.
func (s *Server) Serve(ctx context.Context, listener, older net.Listener) error {
	s.addDoorPorts(listener, older)
	stop := context.AfterFunc(ctx, func() {
		_ = listener.Close()
		_ = older.Close()
		s.gate.closeRooms()
	})
	defer stop()

	var all sync.WaitGroup
	all.Go(func() {
		s.acceptConnections(ctx, older, func(conn net.Conn) { all.Go(func() { s.turnBack(ctx, conn) }) })
	})
	s.acceptConnections(ctx, listener, func(conn net.Conn) {
		if challenge, ok := s.challengePeer(conn); ok {
			all.Go(func() { s.receiveLaptop(ctx, conn, challenge) })
		}
	})

	all.Wait()
	return nil
}

// acceptPause is how long an accept loop waits after an error that may pass.
const acceptPause = 100 * time.Millisecond

// acceptConnections hands each connection to take, until ctx has ended.
func (s *Server) acceptConnections(ctx context.Context, listener net.Listener, take func(net.Conn)) {
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
			s.gate.evictUnknown()
			time.Sleep(acceptPause)
		}
	}
}

// These bound memory of the pod's, in bytes, where its limit is large (see memoryPlan).
const (
	// slowCallers is what all sessions hold of what laptops send to callers that are slow to take
	// it, and fastCallers what more may be under way to those that are not.
	slowCallers, fastCallers = 3 << 20, 16 << 20
	// maxWindow is what is held for one caller.
	maxWindow = 8 << 20
	// copyMemory is what connections hold while bytes move.
	copyMemory = 2 << 20
	// linkBuffer is what is under way to all laptops.
	linkBuffer = 8 << 20
)

// maxSessions bounds the user's sessions, since each costs memory of the pod's.
const maxSessions = 32

// turnBack tells a laptop of version 1 that it is too old.
func (s *Server) turnBack(ctx context.Context, conn net.Conn) {
	if err := s.gate.tellVersion(ctx, conn); err != nil {
		s.logRefusal(conn, err)
	}
}

// logRefusal logs that a connection was refused, and why.
func (s *Server) logRefusal(conn net.Conn, err error) {
	s.config.Log.Warn("refused", "peer", conn.RemoteAddr().String(), "err", err)
}

// challengePeer sends the challenge to whoever has connected.
func (s *Server) challengePeer(conn net.Conn) (challenge mux.Challenge, ok bool) {
	challenge, err := s.gate.sendChallenge(conn)
	if err != nil {
		resetConnection(conn)
		s.logRefusal(conn, err)
	}
	return challenge, err == nil
}

// receiveLaptop serves a connection if its peer proves to be the user's laptop.
func (s *Server) receiveLaptop(ctx context.Context, conn net.Conn, challenge mux.Challenge) {
	if err := s.gate.awaitKnock(conn, challenge); err != nil {
		s.logRefusal(conn, err)
		return
	}

	s.serveLaptop(ctx, conn)
}

// serveLaptop serves a laptop that has knocked, until its session or ctx ends.
func (s *Server) serveLaptop(ctx context.Context, conn net.Conn) {
	served := newRedirectSession(s)
	laptop, err := s.gate.receiveSession(ctx, conn, mux.SessionOptions{
		Handle: served.handleRequest, Lost: served.noteLost, Back: served.noteBack,
		Log: s.config.Log, Budget: s.budget, Window: maxWindow, Buffer: linkBuffer,
	})
	if err != nil {
		s.logRefusal(conn, err)
		return
	}
	if laptop == nil {
		return // the connection belongs to an older session now
	}

	s.addSession(served)
	defer s.shareLinks()
	defer s.removeSession(served)

	served.bindLaptop(laptop)
	s.shareLinks()
	served.serveUntilEnd(ctx)
}

// addDoorPorts remembers where the manager listens for laptops.
func (s *Server) addDoorPorts(listeners ...net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, listener := range listeners {
		if address, ok := listener.Addr().(*net.TCPAddr); ok {
			s.doorPorts = append(s.doorPorts, uint16(address.Port))
		}
	}
}

// isDoorPort reports whether laptops connect to the manager at a port.
func (s *Server) isDoorPort(port uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.doorPorts, port)
}

// addSession gives a session a place. If there is none left, the session whose laptop has been away
// longest gives up its own; if every laptop is there, the new session is surplus.
func (s *Server) addSession(added *redirectSession) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.countServed() >= maxSessions {
		if longest := s.longestAway(); longest != nil {
			s.config.Log.Warn("ended a session to make room: its laptop had been away longest")
			delete(s.sessions, longest)
			close(longest.evicted)
		} else {
			added.surplus = true
		}
	}

	s.sessions[added] = struct{}{}
}

// countServed counts the sessions without those that are surplus. mu is held.
func (s *Server) countServed() (count int) {
	for session := range s.sessions {
		if !session.surplus {
			count++
		}
	}
	return count
}

// longestAway returns the session whose laptop has been away longest, or nil. mu is held.
func (s *Server) longestAway() (longest *redirectSession) {
	var earliest time.Time
	for session := range s.sessions {
		if since, away := session.awaySince(); away && (longest == nil || since.Before(earliest)) {
			longest, earliest = session, since
		}
	}
	return longest
}

// removeSession forgets a session that has ended.
func (s *Server) removeSession(ended *redirectSession) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, ended)
}

// refuseRequest returns an error that reaches the user, with a code for the program on the laptop.
func refuseRequest(code, hint, format string, args ...any) error {
	return &mux.RemoteError{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// redirectDirection returns the direction of the connections that a request is about.
func redirectDirection(a wire.Attach) netfilter.Direction {
	if a.Outgoing {
		return netfilter.Outgoing
	}
	return netfilter.Incoming
}
