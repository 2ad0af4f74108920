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
)

// user is one session of the manager's user and what it redirects.
type user struct {
	server  *Server
	begun   chan struct{} // closed by begin
	session *mux.Session
	surplus bool // there are too many sessions already

	mu        sync.Mutex
	holder    string
	redirects map[uint32]*redirect
	ended     bool
}

// begin says which session it is. Requests may have come before.
func (u *user) begin(s *mux.Session) {
	u.session = s
	close(u.begun)
}

// end takes the session's redirects away and breaks their connections off.
func (u *user) end() {
	u.mu.Lock()
	u.ended = true
	redirects := u.redirects
	u.redirects = nil
	u.mu.Unlock()
	for _, r := range redirects {
		if err := r.end(); err != nil {
			r.log.Error("end the redirect", "err", err)
		}
	}
}

// handle answers the laptop's requests.
func (u *user) handle(ctx context.Context, name string, body json.RawMessage) (any, error) {
	select {
	case <-u.begun:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}

	switch name {
	case wire.RequestHello:
		return decoded(body, u.hello)
	case wire.RequestListeners:
		return u.listeners()
	case wire.RequestAttach:
		return decoded(body, func(a wire.Attach) (wire.Attached, error) { return u.attach(ctx, a) })
	case wire.RequestDetach:
		return decoded(body, u.detach)
	case wire.RequestBye:
		return struct{}{}, u.settle(ctx)
	}

	return nil, refusal(wire.CodeUnsupported, "the manager in the pod is of another version than this kdiag", "no request %q is known", name)
}

// decoded answers a request with what do makes of its body.
func decoded[In, Out any](body json.RawMessage, do func(In) (Out, error)) (any, error) {
	var in In
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fmt.Errorf("decode the request: %w", err)
	}
	return do(in)
}

// maxHolder bounds the name of who redirects, in bytes: it stands in the
// kernel's rules.
const maxHolder = 64

func (u *user) hello(h wire.Hello) (wire.Welcome, error) {
	if u.surplus {
		return wire.Welcome{}, refusal("", "end one of them, or redirect several ports in one", "the manager serves %d sessions already", maxSessions)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.holder = holderName(h.Holder)
	return wire.Welcome{Version: u.server.config.Version}, nil
}

// holderName is a name as the kernel's rules can hold it: printable ASCII
// without blanks, of maxHolder bytes at most.
func holderName(name string) string {
	kept := make([]byte, 0, maxHolder)
	for _, r := range name {
		if len(kept) == maxHolder {
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

// listeners are the ports that something in the pod listens on outside
// loopback, but for this manager's own.
func (u *user) listeners() (wire.Listeners, error) {
	sockets, err := procfs.Listening()
	if err != nil {
		return wire.Listeners{}, fmt.Errorf("list the listening sockets: %w", err)
	}

	seen := map[uint16]bool{}
	var found wire.Listeners
	for _, socket := range sockets {
		port := socket.Local.Port()
		if socket.Local.Addr().Unmap().IsLoopback() || u.server.table.own(port) || seen[port] {
			continue
		}
		seen[port] = true
		found.Ports = append(found.Ports, port)
	}

	return found, nil
}

func (u *user) attach(ctx context.Context, a wire.Attach) (wire.Attached, error) {
	if a.Backend == "" {
		a.Backend = "auto"
	}
	if err := u.check(a); err != nil {
		return wire.Attached{}, err
	}

	r, done, err := newRedirect(ctx, u, a)
	if err != nil {
		return wire.Attached{}, err
	}
	if !u.keep(r) {
		return wire.Attached{}, errors.Join(errors.New("the session is ending"), r.end())
	}

	if !a.Outgoing {
		done.Established, done.TakenOver, err = u.established(ctx, a)
		if err != nil {
			r.log.Warn("established connections", "err", err)
		}
	}

	return done, nil
}

func (u *user) check(a wire.Attach) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.holder == "":
		return fmt.Errorf("%s comes before anything else", wire.RequestHello)
	case a.Port == 0:
		return errors.New("port 0 is no port")
	case u.server.isOwn(a.Port) && !a.Outgoing:
		return fmt.Errorf("port %d is the manager's own", a.Port)
	case a.Host != "" && !a.Outgoing:
		return errors.New("a host is for outgoing connections")
	case u.redirects[a.ID] != nil:
		return fmt.Errorf("redirect %d is there already", a.ID)
	}

	return nil
}

func (u *user) keep(r *redirect) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended || u.redirects[r.attach.ID] != nil {
		return false
	}
	u.redirects[r.attach.ID] = r
	return true
}

// established counts the connections that are at the port already, and closes
// them if that is asked for.
func (u *user) established(ctx context.Context, a wire.Attach) (stay, closed int, err error) {
	if a.TakeOver {
		// Where the kernel cannot, those that stay are counted.
		closed, err = sockdiag.Destroy(ctx, a.Port, nil)
	}

	sockets, countErr := procfs.Established()
	for _, socket := range sockets {
		if socket.Local.Port() == a.Port {
			stay++
		}
	}

	return stay, closed, errors.Join(err, countErr)
}

// settle waits until every connection of the session has ended on this side,
// too, those included that were redirected at the last moment. A session that
// ended before would break them off.
func (u *user) settle(ctx context.Context) error {
	u.mu.Lock()
	redirects := slices.Collect(maps.Values(u.redirects))
	u.mu.Unlock()
	for _, r := range redirects {
		select {
		case <-r.closed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		select {
		case <-r.settles():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}

	return nil
}

func (u *user) detach(d wire.Detach) (struct{}, error) {
	u.mu.Lock()
	r := u.redirects[d.ID]
	u.mu.Unlock()
	if r == nil {
		return struct{}{}, fmt.Errorf("there is no redirect %d", d.ID)
	}
	return struct{}{}, r.detach()
}
