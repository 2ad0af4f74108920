package redirectserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"kdiag/applets/internal/pod/procfs"
	"kdiag/mux"
	"kdiag/mux/wire"
	"kdiag/netfilter"
)

// A redirectSession carries the redirects of one connected laptop.
type redirectSession struct {
	server  *Server
	bound   chan struct{}  // closed when laptop is set
	laptop  *mux.Session   // the other end
	surplus bool           // opened although maxSessions are open
	evicted chan struct{}  // closed when another session needs this one's place
	helpers sync.WaitGroup // settle the redirects; they never wait for the link
	tellers sync.WaitGroup // send events

	mu           sync.Mutex
	holder       string
	run          string        // which run of kdiag it is of
	grace        time.Duration // how long the session outlives its connection
	onDisconnect string        // one of wire.OnDisconnect…
	redirects    map[uint32]*redirectListener
	ended        bool
	laptopIs     attendance
	attended     chan struct{} // closed and replaced when one of these changes
	doubted      bool          // watchDoubt looks for a sign of life
	// settling is true while redirects are settled, and unsettled if that must be done again.
	settling, unsettled bool
	interruptSettling   context.CancelFunc
	untold              map[eventKey]any
	telling             bool // sendUntold runs
}

// newRedirectSession makes a session that is not bound to a laptop yet.
func newRedirectSession(server *Server) *redirectSession {
	return &redirectSession{
		server: server, bound: make(chan struct{}), evicted: make(chan struct{}), redirects: map[uint32]*redirectListener{},
		interruptSettling: func() {}, untold: map[eventKey]any{},
		attended: make(chan struct{}),
	}
}

// bindLaptop lets the session answer requests, some of which may be waiting already: the transport
// takes them before it hands out the mux.Session.
func (s *redirectSession) bindLaptop(laptop *mux.Session) {
	s.laptop = laptop
	close(s.bound)
}

// serveUntilEnd serves the laptop until its session or ctx ends, or another session needs the place,
// and ends everything of the session.
func (s *redirectSession) serveUntilEnd(ctx context.Context) {
	select {
	case <-s.laptop.Done():
	case <-ctx.Done():
	case <-s.evicted:
	}

	// From now on a laptop that goes does not come back. Who waits to send something to one that
	// has gone must not wait for it either.
	s.laptop.KeepFor(0)
	var closing sync.WaitGroup
	if !s.laptop.Connected() {
		closing.Go(func() { _ = s.laptop.Close() })
	}

	s.endRedirects()
	_ = s.laptop.Close()
	closing.Wait()
	s.tellers.Wait()
}

// endRedirects removes the session's redirects and resets their connections.
func (s *redirectSession) endRedirects() {
	s.mu.Lock()
	s.ended = true
	s.noteAttendance()
	s.stopPatience()
	s.interruptSettling()
	redirects := s.redirects
	s.redirects = nil
	s.mu.Unlock()

	// Side by side: each may wait for callers to take what was written to them.
	var all sync.WaitGroup
	for _, r := range redirects {
		all.Go(func() {
			if err := r.stopAndReset(); err != nil {
				r.log.Error("end the redirect", "err", err)
			}
		})
	}
	all.Wait()
	s.helpers.Wait()
}

// handleRequest answers one request of the laptop's, as mux.SessionOptions.Handle.
func (s *redirectSession) handleRequest(ctx context.Context, name string, body json.RawMessage) (any, error) {
	select {
	case <-s.bound:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}

	switch name {
	case wire.RequestHello:
		return answerRequest(body, s.answerHello)
	case wire.RequestListeners:
		return s.listListeners()
	case wire.RequestAttach:
		return answerRequest(body, func(a wire.Attach) (wire.Attached, error) { return s.attachRedirect(ctx, a) })
	case wire.RequestCover:
		return answerRequest(body, s.coverMore)
	case wire.RequestDetach:
		return answerRequest(body, s.detachRedirect)
	case wire.RequestBye:
		s.shortenGrace()
		return s.sayFarewell(ctx)
	}

	return nil, refuseRequest(wire.CodeUnsupported, "the manager in the pod is a different version of kdiag", "unknown request %q", name)
}

// leaveGrace is what is left of the grace once a laptop is about to leave: a blink costs nothing,
// but nobody waits for one that was ended meanwhile.
const leaveGrace = 5 * time.Second

// shortenGrace shortens the session's grace for a laptop that is about to leave.
func (s *redirectSession) shortenGrace() {
	s.mu.Lock()
	grace := min(s.grace, leaveGrace)
	s.mu.Unlock()

	s.laptop.KeepFor(grace)
}

// answerRequest decodes a request's body and returns what answer makes of it.
func answerRequest[In, Out any](body json.RawMessage, answer func(In) (Out, error)) (any, error) {
	var in In
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fmt.Errorf("decode the request: %w", err)
	}

	return answer(in)
}

// answerHello notes who redirects and what happens while the laptop is away, and turns a session
// away that is one too many. It does so here rather than at the handshake because only an answer
// can carry the reason to the user.
func (s *redirectSession) answerHello(h wire.Hello) (wire.Welcome, error) {
	if s.surplus {
		return wire.Welcome{}, refuseRequest("", "end a session, or redirect several ports in one session",
			"the manager already serves %d sessions", maxSessions)
	}

	grace, err := sessionGrace(h)
	if err != nil {
		return wire.Welcome{}, err
	}
	policy, err := disconnectPolicy(h)
	if err != nil {
		return wire.Welcome{}, err
	}

	s.mu.Lock()
	s.holder, s.grace, s.onDisconnect = sanitizeHolder(h.Holder), grace, policy
	s.run = h.Run[:min(len(h.Run), maxRun)]
	s.mu.Unlock()
	s.laptop.KeepFor(grace) // calls noteLost, so without the lock
	s.server.useMemoryOf(h.MemoryLimit)

	return wire.Welcome{Version: s.server.config.Version}, nil
}

// maxRun bounds what is kept of a run's name, in bytes.
const maxRun = 64

// sanitizeHolder makes a name fit for the kernel's rules: printable ASCII without blanks, at most
// netfilter.MaxHolder bytes.
func sanitizeHolder(name string) string {
	kept := make([]byte, 0, netfilter.MaxHolder)
	for _, r := range name {
		if len(kept) == netfilter.MaxHolder {
			break
		}
		if r <= ' ' || r > '~' {
			r = '_'
		}
		kept = append(kept, byte(r))
	}

	if len(kept) == 0 {
		return "unknown"
	}

	return string(kept)
}

// listListeners returns the ports on which something in the pod listens outside loopback, sorted and
// without this manager's own.
func (s *redirectSession) listListeners() (wire.Listeners, error) {
	sockets, err := procfs.ListListeners()
	if err != nil {
		return wire.Listeners{}, fmt.Errorf("list the listening sockets: %w", err)
	}

	seen := map[uint16]bool{}
	var found wire.Listeners
	for _, socket := range sockets {
		port := socket.Local.Port()
		if socket.Local.Addr().Unmap().IsLoopback() || s.server.ruleSet.isListenerPort(port) || seen[port] {
			continue
		}
		seen[port] = true
		found.Ports = append(found.Ports, port)
	}

	slices.Sort(found.Ports)
	return found, nil
}

// attachRedirect starts a redirect and returns what the laptop reports to its user about it.
func (s *redirectSession) attachRedirect(ctx context.Context, a wire.Attach) (wire.Attached, error) {
	if a.Backend == "" {
		a.Backend = "auto"
	}
	if err := s.checkAttach(a); err != nil {
		return wire.Attached{}, err
	}

	r, done, err := newRedirectListener(ctx, s, a)
	if err != nil {
		return wire.Attached{}, err
	}

	// The session may have ended while the rules were made: then nobody else would remove them.
	if !s.keepRedirect(r) {
		return wire.Attached{}, errors.Join(errors.New("the session is closing"), r.stopAndReset())
	}
	s.settleRedirects() // the laptop may be away by now
	s.warnOfTracking(a.ID)

	if !a.Outgoing {
		if done.Listening, err = describeListening(a.Port, done.Mesh); err != nil {
			r.log.Warn("look who listens on the port", "err", err)
		}
	}
	if done.Established, done.TakenOver, err = r.countEstablished(ctx); err != nil {
		r.log.Warn("count or close established connections", "err", err)
	}

	return done, nil
}

// checkAttach refuses a request that makes no sense, before anything is done for it.
func (s *redirectSession) checkAttach(a wire.Attach) error {
	isDoorPort := s.server.isDoorPort(a.Port)
	s.mu.Lock()
	defer s.mu.Unlock()

	switch {
	case s.holder == "":
		return fmt.Errorf("the first request must be %s", wire.RequestHello)
	case a.Port == 0:
		return errors.New("port must not be 0")
	case isDoorPort && !a.Outgoing:
		return fmt.Errorf("port %d belongs to the manager", a.Port)
	case (a.Host != "" || len(a.Also) > 0) && !a.Outgoing:
		return errors.New("a host needs an outgoing redirect")
	case s.redirects[a.ID] != nil:
		return fmt.Errorf("redirect %d already exists", a.ID)
	}

	return nil
}

// keepRedirect adds a redirect to the session's, unless the session has ended or another request
// was quicker with the same ID.
func (s *redirectSession) keepRedirect(r *redirectListener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.redirects[r.attach.ID] != nil {
		return false
	}

	s.redirects[r.attach.ID] = r
	return true
}

// awaitConnections waits until every connection of the session has ended on this side too, with
// those that were redirected at the last moment. If the session ended earlier, it would reset
// them.
func (s *redirectSession) awaitConnections(ctx context.Context) error {
	s.mu.Lock()
	redirects := slices.Collect(maps.Values(s.redirects))
	s.mu.Unlock()

	for _, r := range redirects {
		// Until then another connection may be accepted.
		select {
		case <-r.closed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}

		select {
		case <-r.whenIdle():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}

	return nil
}

// detachRedirect stops a redirect. Its connections go on, so it stays among the session's.
func (s *redirectSession) detachRedirect(d wire.Detach) (wire.Detached, error) {
	s.mu.Lock()
	r := s.redirects[d.ID]
	s.mu.Unlock()

	if r == nil {
		return wire.Detached{}, fmt.Errorf("no redirect %d", d.ID)
	}

	err := r.stopRedirecting()
	return wire.Detached{Probed: r.probed.stop(), Refused: r.refused.readCounts()}, err
}
