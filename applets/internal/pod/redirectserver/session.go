package redirectserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"kdiag/applets/internal/pod/procfs"
	"kdiag/applets/internal/pod/sockdiag"
	"kdiag/mux"
	"kdiag/mux/wire"
	"kdiag/netfilter"
)

// A redirectSession carries the redirects of one connected laptop.
type redirectSession struct {
	server  *Server
	bound   chan struct{} // closed when laptop is set
	laptop  *mux.Session  // the other end
	surplus bool          // opened although maxSessions are open

	mu        sync.Mutex
	holder    string
	redirects map[uint32]*redirectListener
	ended     bool
}

// newRedirectSession makes a session that is not bound to a laptop yet.
func newRedirectSession(server *Server) *redirectSession {
	return &redirectSession{server: server, bound: make(chan struct{}), redirects: map[uint32]*redirectListener{}}
}

// bindLaptop lets the session answer requests, some of which may be waiting already: the transport
// takes them before it hands out the mux.Session.
func (s *redirectSession) bindLaptop(laptop *mux.Session) {
	s.laptop = laptop
	close(s.bound)
}

// endRedirects removes the session's redirects and resets their connections.
func (s *redirectSession) endRedirects() {
	s.mu.Lock()
	s.ended = true
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
	case wire.RequestDetach:
		return answerRequest(body, s.detachRedirect)
	case wire.RequestBye:
		return struct{}{}, s.awaitConnections(ctx)
	}

	return nil, refuseRequest(wire.CodeUnsupported, "the manager in the pod is a different version of kdiag", "unknown request %q", name)
}

// answerRequest decodes a request's body and returns what answer makes of it.
func answerRequest[In, Out any](body json.RawMessage, answer func(In) (Out, error)) (any, error) {
	var in In
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fmt.Errorf("decode the request: %w", err)
	}

	return answer(in)
}

// answerHello notes who redirects, and turns a session away that is one too many. It does so here
// rather than at the handshake because only an answer can carry the reason to the user.
func (s *redirectSession) answerHello(h wire.Hello) (wire.Welcome, error) {
	if s.surplus {
		return wire.Welcome{}, refuseRequest("", "end a session, or redirect several ports in one session",
			"the manager already serves %d sessions", maxSessions)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.holder = sanitizeHolder(h.Holder)

	return wire.Welcome{Version: s.server.config.Version}, nil
}

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

	if !a.Outgoing {
		done.Established, done.TakenOver, err = s.countEstablished(ctx, a)
		if err != nil {
			r.log.Warn("count or close established connections", "err", err)
		}
	}

	return done, nil
}

// checkAttach refuses a request that makes no sense, before anything is done for it.
func (s *redirectSession) checkAttach(a wire.Attach) error {
	s.mu.Lock()
	defer s.mu.Unlock()

	switch {
	case s.holder == "":
		return fmt.Errorf("the first request must be %s", wire.RequestHello)
	case a.Port == 0:
		return errors.New("port must not be 0")
	case s.server.isDoorPort(a.Port) && !a.Outgoing:
		return fmt.Errorf("port %d belongs to the manager", a.Port)
	case a.Host != "" && !a.Outgoing:
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

// countEstablished counts the connections that were established at the port before the redirect,
// after it has closed them if the request says so.
func (s *redirectSession) countEstablished(ctx context.Context, a wire.Attach) (stay, closed int, err error) {
	if a.TakeOver {
		// A kernel that cannot close them leaves them to be counted.
		closed, err = sockdiag.DestroyConnections(ctx, a.Port, nil)
	}

	sockets, countErr := procfs.ListEstablished()
	for _, socket := range sockets {
		if socket.Local.Port() == a.Port {
			stay++
		}
	}

	return stay, closed, errors.Join(err, countErr)
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
func (s *redirectSession) detachRedirect(d wire.Detach) (struct{}, error) {
	s.mu.Lock()
	r := s.redirects[d.ID]
	s.mu.Unlock()

	if r == nil {
		return struct{}{}, fmt.Errorf("no redirect %d", d.ID)
	}

	return struct{}{}, r.stopRedirecting()
}
