package redirectserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"kdiag/mux"
	"kdiag/mux/wire"
	"kdiag/netfilter"
)

// redirect is one redirect of a session: a listener that the kernel sends
// connections to, and those connections.
type redirect struct {
	attach   wire.Attach
	session  *mux.Session
	table    *table
	proxier  *mux.Proxier
	files    *quota
	log      *slog.Logger
	listener *net.TCPListener
	// originalDestination is where a redirected connection was going.
	originalDestination func(conn syscall.Conn) (netip.AddrPort, error)

	holder   string
	stop     context.CancelFunc // of following a name
	accepted sync.WaitGroup     // the accept loop and every connection
	closed   chan struct{}      // when the accept loop has ended: what it took is kept by then

	mu        sync.Mutex
	rules     []netfilter.Redirect
	addresses []netip.Addr
	conns     map[*mux.TCP]struct{}
	detached  bool
	settled   []chan struct{} // to be closed when conns is empty
}

// newRedirect opens the listener and the rules, and begins to take connections.
func newRedirect(ctx context.Context, u *user, a wire.Attach) (*redirect, wire.Attached, error) {
	r := &redirect{
		attach: a, session: u.session, table: u.server.table, proxier: &u.server.proxier, files: &u.server.files, holder: u.holder,
		conns: map[*mux.TCP]struct{}{}, closed: make(chan struct{}),
		originalDestination: u.server.config.OriginalDestination,
		log:                 u.server.config.Log.With("redirect", a.ID, "port", a.Port),
	}
	if a.Host != "" {
		var err error
		if r.addresses, err = resolve(ctx, a.Host); err != nil {
			return nil, wire.Attached{}, err
		}
	}

	if err := r.listen(ctx); err != nil {
		return nil, wire.Attached{}, err
	}

	for _, address := range r.destinations() {
		r.rules = append(r.rules, r.rule(address))
	}

	done := wire.Attached{Addresses: r.addresses}
	var err error
	if done.Backend, done.Mesh, err = r.table.attach(a.Backend, r.rules); err != nil {
		r.unlisten()
		return nil, wire.Attached{}, err
	}

	r.accepted.Go(r.accept)
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = stop
	if len(r.addresses) > 0 {
		r.accepted.Go(func() { r.follow(following) })
	}

	return r, done, nil
}

// listen takes a port of the kernel's choice on every address: what comes from
// outside is redirected to the interface's own, what is local to loopback's.
func (r *redirect) listen(ctx context.Context) error {
	config := net.ListenConfig{Control: netfilter.ControlMark(Mark)}
	listener, err := config.Listen(ctx, "tcp", ":0")
	if err != nil {
		return fmt.Errorf("listen for redirected connections: %w", err)
	}

	tcp, ok := listener.(*net.TCPListener)
	if !ok {
		return fmt.Errorf("listen for redirected connections: a %T", listener)
	}

	r.listener = tcp
	r.table.listens(r.port(), true)
	return nil
}

// port is the listener's.
func (r *redirect) port() uint16 {
	if address, ok := r.listener.Addr().(*net.TCPAddr); ok {
		return uint16(address.Port)
	}
	return 0
}

// unlisten closes the listener.
func (r *redirect) unlisten() {
	_ = r.listener.Close()
	r.table.listens(r.port(), false)
}

// destinations are the addresses to match, of which the zero one is any.
func (r *redirect) destinations() []netip.Addr {
	if len(r.addresses) > 0 {
		return r.addresses
	}
	return []netip.Addr{{}}
}

func (r *redirect) rule(address netip.Addr) netfilter.Redirect {
	return netfilter.Redirect{
		Direction: direction(r.attach), Port: r.attach.Port, Address: address,
		Listener: r.port(), Holder: r.holder,
	}
}

// accept takes redirected connections until the listener is closed, which
// detach and end see to.
func (r *redirect) accept() {
	defer close(r.closed)
	defer r.unlisten()
	for {
		conn, err := r.listener.AcceptTCP()
		switch {
		case err == nil:
			r.take(mux.NewTCP(conn))
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
			return
		default:
			// Too many open files, most likely: it passes.
			r.log.Warn("accept", "err", err)
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// take passes a connection on in a goroutine of its own. The port is open to
// all; what was not redirected has no business there.
func (r *redirect) take(conn *mux.TCP) {
	to, err := r.originalDestination(conn)
	if err != nil || to.Port() != r.attach.Port {
		r.log.Debug("dropped", "peer", conn.RemoteAddr().String(), "err", err)
		conn.Reset()
		return
	}

	if !r.keep(conn) {
		conn.Reset()
		return
	}

	r.accepted.Go(func() {
		defer r.forget(conn)
		r.serve(conn, to)
	})
}

func (r *redirect) serve(conn *mux.TCP, to netip.AddrPort) {
	stream, err := r.session.Open(mux.Header{Redirect: r.attach.ID, Source: source(conn), Destination: to})
	if err != nil {
		conn.Reset()
		return
	}
	result := r.proxier.Proxy(conn, stream, nil)
	r.log.Debug("connection ended", "peer", conn.RemoteAddr().String(), "sent", result.Sent, "received", result.Received, "err", result.Err)
}

func source(conn *mux.TCP) netip.AddrPort {
	if address, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		peer := address.AddrPort()
		return netip.AddrPortFrom(peer.Addr().Unmap().WithZone(""), peer.Port())
	}
	return netip.AddrPort{}
}

// maxConns bounds the connections of one redirect at a time: each costs the
// pod's memory.
const maxConns = 4096

func (r *redirect) keep(conn *mux.TCP) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.conns) >= maxConns {
		r.log.Warn("too many connections at once", "most", maxConns)
		return false
	}

	if !r.files.take() {
		r.log.Warn("too many open files for one more connection")
		return false
	}

	r.conns[conn] = struct{}{}
	r.table.hold()
	return true
}

func (r *redirect) forget(conn *mux.TCP) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, conn)
	r.files.give()
	r.table.release()
	if len(r.conns) == 0 {
		for _, waiter := range r.settled {
			close(waiter)
		}
		r.settled = nil
	}
}

// settles is closed when no connection is left, or none is there.
func (r *redirect) settles() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	waiter := make(chan struct{})
	if len(r.conns) == 0 {
		close(waiter)
	} else {
		r.settled = append(r.settled, waiter)
	}
	return waiter
}

// queued is how long a listener stays after its rule: handshakes that the rule
// has redirected may still be under way.
const queued = 250 * time.Millisecond

// detach sends new connections to where they went before.
func (r *redirect) detach() error {
	r.mu.Lock()
	if r.detached {
		r.mu.Unlock()
		return nil
	}

	r.detached = true
	rules := r.rules
	r.mu.Unlock()
	r.stop()
	err := r.table.detach(rules)
	_ = r.listener.SetDeadline(time.Now().Add(queued))
	return err
}

// end is detach, and breaks off what still flows.
func (r *redirect) end() error {
	err := r.detach()
	_ = r.listener.Close()
	r.mu.Lock()
	for conn := range r.conns {
		conn.Reset()
	}
	r.mu.Unlock()
	r.accepted.Wait()
	return err
}

// followEvery is how often a name is looked up again. Cluster DNS answers live
// 5 to 30 s (coredns, plugin kubernetes).
const followEvery = 10 * time.Second

// follow keeps the rules where the name leads.
func (r *redirect) follow(ctx context.Context) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := r.refresh(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("follow the name", "host", r.attach.Host, "err", err)
		}
	}
}

// refresh looks the name up once, and moves the rules if it leads elsewhere. A
// name that does not resolve just now keeps its rules.
func (r *redirect) refresh(ctx context.Context) error {
	now, err := resolve(ctx, r.attach.Host)
	if err != nil {
		return err
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	if r.detached {
		return nil
	}

	kept, added, removed := r.difference(now)
	if len(added)+len(removed) == 0 {
		return nil
	}

	added, err = r.table.change(added, removed)
	r.rules, r.addresses = append(kept, added...), now
	return errors.Join(err, r.session.Notify(wire.EventMoved, wire.Moved{ID: r.attach.ID, Addresses: now}))
}

func (r *redirect) difference(now []netip.Addr) (kept, added, removed []netfilter.Redirect) {
	wanted := map[netip.Addr]bool{}
	for _, address := range now {
		wanted[address] = true
	}

	for _, rule := range r.rules {
		if wanted[rule.Address] {
			kept = append(kept, rule)
			delete(wanted, rule.Address)
		} else {
			removed = append(removed, rule)
		}
	}

	for _, address := range now {
		if wanted[address] {
			added = append(added, r.rule(address))
		}
	}

	return kept, added, removed
}
