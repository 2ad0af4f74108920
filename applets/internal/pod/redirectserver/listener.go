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

	"kdiag/applets/internal/pod/healthprobe"
	"kdiag/mux"
	"kdiag/mux/wire"
	"kdiag/netfilter"
)

// A redirectListener takes the connections that the kernel redirects for one of a session's
// redirects, and passes each on to the laptop as a stream.
type redirectListener struct {
	attach   wire.Attach
	laptop   *mux.Session
	ruleSet  *ruleSet
	proxier  *mux.Proxier
	pool     *connectionPool
	log      *slog.Logger
	listener *net.TCPListener
	// originalDestination tells where a redirected connection was going.
	originalDestination func(conn syscall.Conn) (netip.AddrPort, error)
	// tellMoved tells the laptop that the name has other addresses.
	tellMoved func(m wire.Moved) error
	// awaitLaptop waits while the laptop is away, and says where a connection goes then.
	awaitLaptop func(stopped <-chan struct{}) route
	// probes recognizes what goes to the application; nil if nothing does.
	probes      *healthprobe.Recognizer
	nodes       *nodeSources
	probed      *probeCount
	refused     *refusedCount
	application *applicationRoute
	// tellTrouble tells the laptop what is wrong with the redirect. It does not wait for the link.
	tellTrouble func(trouble wire.Troubled)
	resolve     resolveFunc
	// placePatience is how long connections wait for a place.
	placePatience time.Duration

	holder    string
	began     time.Time
	stop      context.CancelFunc // of following a name, and of waiting for a place
	detaching <-chan struct{}    // closed by stop
	followNow chan struct{}      // has the name looked up without delay
	// crowdedSince is when the accept loop found no place for a connection, until it found one.
	crowdedSince time.Time
	accepted     sync.WaitGroup // the accept loop and every connection
	stopped      chan struct{}  // closed by releaseWaiting
	closed       chan struct{}  // closed after the accept loop: by then conns has all that it took

	mu    sync.Mutex
	rules []netfilter.Redirect
	// destinations are those that a name has led to; none for any destination.
	destinations []netip.AddrPort
	full         bool // there were more destinations
	conns        map[*mux.TCP]owner
	trials       map[netip.AddrPort]chan<- trialArrival // those expected, by their sources
	detached     bool
	suspended    bool            // rules are not in the kernel now, but may be again
	crowded      bool            // they are out for want of room, not because the laptop is away
	provenAt     uint64          // how often the laptop had come back at the last proof
	idleWaiters  []chan struct{} // to be closed when conns is empty
}

// newRedirectListener opens the listener, adds the rules, begins to take connections, and proves
// that the rules lead them there.
func newRedirectListener(ctx context.Context, s *redirectSession, a wire.Attach) (*redirectListener, wire.Attached, error) {
	r := &redirectListener{
		attach: a, laptop: s.laptop, ruleSet: s.server.ruleSet, proxier: &s.server.proxier, pool: s.server.pool, holder: s.holder, began: time.Now(),
		conns: map[*mux.TCP]owner{}, trials: map[netip.AddrPort]chan<- trialArrival{}, closed: make(chan struct{}), stopped: make(chan struct{}),
		followNow: make(chan struct{}, 1), provenAt: s.countReturns(),
		originalDestination: s.server.config.OriginalDestination,
		resolve:             newResolver(s.server.config.DialNameServer),
		tellMoved:           func(m wire.Moved) error { return s.laptop.Notify(wire.EventMoved, m) },
		awaitLaptop:         s.awaitLaptop,
		placePatience:       s.server.config.PlacePatience,
		tellTrouble:         s.noteTrouble,
		log:                 s.server.config.Log.With("redirect", a.ID, "port", a.Port),
	}
	r.application, r.probed = s.server.application, newProbeCount(a.ID, s.tellProbed)
	r.refused = newRefusedCount(a.ID, s.tellRefused)

	// The listener comes before the rules: one that leads to a closed port refuses the pod's callers.
	ttl, err := r.findWhatToTake(ctx)
	if err == nil {
		err = r.openListener(ctx)
	}
	if err != nil {
		return nil, wire.Attached{}, err
	}

	r.makeRules()
	done := wire.Attached{}
	done.Addresses, done.Endpoints = r.splitDestinations()
	if err := s.claimRules(ctx, a, r.rules); err != nil {
		r.closeListener()
		return nil, wire.Attached{}, err
	}
	if done.Backend, done.Mesh, err = r.ruleSet.attachRules(a.Backend, r.rules); err != nil {
		r.retire(nil) // some of the rules may have been there for a moment
		return nil, wire.Attached{}, err
	}

	r.nodes = newNodeSources(a.NodeAddresses, done.Mesh != "")
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stop, r.detaching = stop, following.Done()
	r.accepted.Go(r.acceptConnections)
	if len(r.destinations) > 0 {
		r.accepted.Go(func() { r.followName(following, ttl) })
	}

	if done.Unproven, err = r.proveRules(ctx); err != nil {
		return nil, wire.Attached{}, errors.Join(err, r.stopAndReset())
	}

	return r, done, nil
}

// findWhatToTake finds where the redirect's connections were going, with the time until it has to look
// again, and what of them are health probes.
func (r *redirectListener) findWhatToTake(ctx context.Context) (ttl time.Duration, err error) {
	if r.probes, err = healthprobe.New(r.attach.Probes); err != nil {
		return 0, refuseRequest(wire.CodeUnsupported, olderManagerHint, "%v", err)
	}
	if r.attach.Host == "" {
		return unknownTTL, nil
	}
	return r.findDestinations(ctx)
}

// makeRules makes the rules that lead there to the listener.
func (r *redirectListener) makeRules() {
	r.rules = r.missingRules()
	if len(r.destinations) == 0 {
		r.rules = []netfilter.Redirect{r.newRule(netip.AddrPortFrom(netip.Addr{}, r.attach.Port))}
	}
}

// openListener takes a port of the kernel's choice on every address: connections from outside are
// redirected to the interface's own address, local ones to loopback.
func (r *redirectListener) openListener(ctx context.Context) error {
	config := net.ListenConfig{Control: netfilter.ControlMark(Mark)}
	listener, err := config.Listen(ctx, "tcp", ":0")
	if err != nil {
		return fmt.Errorf("listen for redirected connections: %w", err)
	}

	tcp, ok := listener.(*net.TCPListener)
	if !ok {
		return fmt.Errorf("listen for redirected connections: unexpected listener %T", listener)
	}

	r.listener = tcp
	r.ruleSet.setListenerPort(r.port(), true)
	return nil
}

// port returns the listener's port.
func (r *redirectListener) port() uint16 { return portOf(r.listener) }

// portOf returns a listener's port.
func portOf(listener *net.TCPListener) uint16 {
	if address, ok := listener.Addr().(*net.TCPAddr); ok {
		return uint16(address.Port)
	}
	return 0
}

// closeListener closes the listener.
func (r *redirectListener) closeListener() {
	_ = r.listener.Close()
	r.ruleSet.setListenerPort(r.port(), false)
}

// newRule makes the rule that leads connections to a destination here; the zero address stands for
// any.
func (r *redirectListener) newRule(to netip.AddrPort) netfilter.Redirect {
	return netfilter.Redirect{
		Direction: redirectDirection(r.attach), Port: to.Port(), Address: to.Addr(),
		Listener: r.port(), Holder: r.holder,
	}
}

// acceptConnections takes redirected connections until stopRedirecting ends that. What comes later
// goes to the application.
func (r *redirectListener) acceptConnections() {
	defer close(r.closed)

	for {
		accepted, err := r.listener.AcceptTCP()
		switch {
		case err == nil:
			if conn := mux.NewTCP(accepted); !r.takeConnection(conn) {
				r.retire(conn)
				return
			}
		case errors.Is(err, os.ErrDeadlineExceeded):
			r.retire(nil)
			return
		case errors.Is(err, net.ErrClosed):
			return
		default:
			// Too many open files, most likely: it passes.
			r.log.Warn("accept", "err", err)
			time.Sleep(acceptPause)
		}
	}
}

// takeConnection passes a connection on in a goroutine of its own. Anybody in the pod can dial the
// listener itself; a connection that was not redirected is reset. It reports false, and leaves the
// connection as it is, if the redirect ended before there was a place for it.
func (r *redirectListener) takeConnection(conn *mux.TCP) bool {
	to, err := r.originalDestination(conn)
	if r.recognizeTrial(conn, trialArrival{to, err}) {
		conn.Reset()
		return true
	}

	if err != nil || !r.isDestination(to) {
		r.refuseStranger(conn, err)
		return true
	}

	if !r.keepConnection(conn) {
		if wire.IsClosed(r.detaching) {
			return false
		}
		r.refuseConnection(conn, wire.RefusedNoRoom)
		return true
	}

	r.accepted.Go(func() {
		defer r.forgetConnection(conn)
		r.routeConnection(conn, to)
	})
	return true
}

// routeConnection passes a connection on to where it goes, or ends it.
func (r *redirectListener) routeConnection(conn *mux.TCP, to netip.AddrPort) {
	switch r.chooseRoute(conn) {
	case toLaptop:
		r.serveConnection(conn, to)
	case toApplication:
		r.serveByApplication(conn, to)
	case toNobody:
		_ = conn.Close()
	case nowhere:
		r.refuseConnection(conn, wire.RefusedAway)
	case broken:
		conn.Reset()
	}
}

// serveConnection opens a stream to the laptop and passes bytes on until both directions end.
func (r *redirectListener) serveConnection(conn *mux.TCP, to netip.AddrPort) {
	if wire.IsClosed(r.stopped) {
		r.serveByApplication(conn, to)
		return
	}

	stream, err := r.laptop.Open(mux.Header{Redirect: r.attach.ID, Source: sourceAddress(conn), Destination: to})
	switch {
	case err != nil:
		// The session has just ended: nothing of the connection has reached the laptop.
		r.serveByApplication(conn, to)
		return
	case !r.giveTo(laptops, conn):
		stream.Reset()
		r.serveByApplication(conn, to)
		return
	}

	result := r.proxier.Proxy(conn, stream, nil)
	r.log.Debug("connection ended", "peer", conn.RemoteAddr().String(), "sent", result.Sent, "received", result.Received, "err", result.Err)
}

// serveByApplication passes a connection to where it was going, or resets it.
func (r *redirectListener) serveByApplication(conn *mux.TCP, to netip.AddrPort) {
	r.giveTo(applications, conn)
	resumeReads(conn)
	r.passToApplication(conn, to)
}

// sourceAddress returns the caller's address, without the zone, which means nothing on the laptop.
func sourceAddress(conn *mux.TCP) netip.AddrPort {
	if address, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		peer := address.AddrPort()
		return netip.AddrPortFrom(peer.Addr().Unmap().WithZone(""), peer.Port())
	}
	return netip.AddrPort{}
}

// keepConnection adds a connection, if the pool has a place for it.
func (r *redirectListener) keepConnection(conn *mux.TCP) bool {
	if !r.takePlace() {
		return false
	}

	limitSocketBuffers(conn, r.pool.count(), r.pool.size())
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns[conn] = nobodys
	r.ruleSet.holdBackend()
	return true
}

// An owner says who has something of a connection.
type owner uint8

const (
	nobodys owner = iota
	laptops
	applications
)

// giveTo notes who has a connection from now on. It reports false if that is the laptop, and the
// redirect has ended, or another session has it.
func (r *redirectListener) giveTo(who owner, conn *mux.TCP) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if who == laptops && wire.IsClosed(r.stopped) {
		return false
	}

	r.conns[conn] = who
	return true
}

// forgetConnection removes a connection that has ended, and tells whoever waits for the last one.
func (r *redirectListener) forgetConnection(conn *mux.TCP) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, conn)
	r.pool.giveBack()
	r.ruleSet.releaseBackend()

	if len(r.conns) == 0 {
		for _, waiter := range r.idleWaiters {
			close(waiter)
		}
		r.idleWaiters = nil
	}
}

// whenIdle returns a channel that is closed once there are no connections.
func (r *redirectListener) whenIdle() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()

	waiter := make(chan struct{})
	if len(r.conns) == 0 {
		close(waiter)
	} else {
		r.idleWaiters = append(r.idleWaiters, waiter)
	}

	return waiter
}

// stopRedirecting sends new connections where they went before, those too that the kernel has
// redirected already. Those that are there go on.
func (r *redirectListener) stopRedirecting() error {
	r.mu.Lock()
	if r.detached {
		r.mu.Unlock()
		return nil
	}

	r.detached = true
	rules := r.rules
	if r.suspended {
		rules = nil
	}
	r.mu.Unlock()

	r.stop()
	r.probed.stop()
	err := r.ruleSet.detachRules(rules)
	_ = r.listener.SetDeadline(time.Unix(1, 0)) // ends acceptConnections
	return err
}

// stopAndReset stops redirecting, resets the connections that are the laptop's, and waits for their
// end. Those of which it has nothing yet go to the application.
func (r *redirectListener) stopAndReset() error {
	err := r.stopRedirecting()
	r.releaseWaiting()

	r.mu.Lock()
	for conn, has := range r.conns {
		if has == laptops {
			conn.Reset()
		}
	}
	r.mu.Unlock()

	r.accepted.Wait()
	return err
}

// stopForOther stops redirecting for another session that takes the redirect over. What the laptop has
// goes on, and nobody waits for it any more.
func (r *redirectListener) stopForOther() error {
	err := r.stopRedirecting()
	r.releaseWaiting()
	return err
}

// releaseWaiting sends connections to the application of which the laptop has nothing yet, those to
// come too.
func (r *redirectListener) releaseWaiting() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !wire.IsClosed(r.stopped) {
		close(r.stopped)
	}

	for conn, has := range r.conns {
		if has == nobodys {
			endClassification(conn)
		}
	}
}
