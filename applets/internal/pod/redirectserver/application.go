package redirectserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"kdiag/mux"
	"kdiag/netfilter"
)

const (
	// applicationTimeout bounds the wait for the application to accept a connection.
	applicationTimeout = 30 * time.Second
	// roomPatience is how long a connection waits for a place for its second socket.
	roomPatience = 30 * time.Second
)

// An applicationRoute passes redirected connections to where they were going. They outlive their
// redirect and its session, since nothing of them is the laptop's.
type applicationRoute struct {
	ruleSet *ruleSet
	proxier *mux.Proxier
	pool    *connectionPool

	mu      sync.Mutex
	closing bool
	conns   map[*mux.TCP]context.CancelFunc // which end the wait for the application
	serving sync.WaitGroup
}

func newApplicationRoute(rules *ruleSet, proxier *mux.Proxier, pool *connectionPool) *applicationRoute {
	return &applicationRoute{ruleSet: rules, proxier: proxier, pool: pool, conns: map[*mux.TCP]context.CancelFunc{}}
}

// serve passes a connection to the application in a goroutine of its own. It owns the connection and
// its place in the pool, which the caller gives back, and reports false without them if it is closed.
func (a *applicationRoute) serve(conn *mux.TCP, to netip.AddrPort) bool {
	ctx, cancel := context.WithCancel(context.Background())
	if !a.take(conn, cancel) {
		cancel()
		return false
	}

	a.serving.Go(func() {
		defer cancel()
		defer a.giveBack(conn)
		if err := a.connect(ctx, conn, to); err != nil {
			conn.Reset()
		}
	})
	return true
}

// connect dials the application, past every redirect, and copies until both directions have ended.
func (a *applicationRoute) connect(ctx context.Context, conn *mux.TCP, to netip.AddrPort) error {
	if !a.awaitRoom(ctx) {
		return errors.New("no room")
	}
	defer a.pool.giveBack()

	tcp, err := a.dial(ctx, sourceAddress(conn).Addr(), to)
	if err != nil {
		return fmt.Errorf("connect to the application: %w", err)
	}

	a.proxier.Proxy(conn, mux.NewTCP(tcp), nil)
	return nil
}

// awaitRoom takes a place for the connection's second socket. It may have to wait: many connections
// that have waited for the laptop in vain come at once.
func (a *applicationRoute) awaitRoom(ctx context.Context) bool {
	patient, cancel := context.WithTimeout(ctx, roomPatience)
	defer cancel()
	ok := a.pool.takeReserved(patient)
	if !ok && ctx.Err() == nil {
		a.ruleSet.log.Warn("no room for one more connection to the application")
	}
	return ok
}

// dial connects to the application, where the kernel can do that from the caller's own address.
func (a *applicationRoute) dial(ctx context.Context, source netip.Addr, to netip.AddrPort) (*net.TCPConn, error) {
	network := "tcp6"
	if to.Addr().Is4() {
		network = "tcp4"
	}
	forget := func() error { return nil }
	bound := func(port uint16) error {
		if kept, err := a.ruleSet.keepSource(port, source); err == nil {
			forget = kept
		} else {
			a.ruleSet.log.Warn("keep a caller's address", "err", err)
		}
		return nil // it is served from the pod's own address
	}

	dialer := net.Dialer{Control: netfilter.ControlMark(Mark), Timeout: applicationTimeout, KeepAlive: -1}
	if !source.IsLoopback() && source.Is4() == to.Addr().Is4() && a.ruleSet.keepsSources() {
		dialer.Control = netfilter.ControlBound(Mark, bound)
	}

	application, err := dialer.DialContext(ctx, network, to.String())
	if forgetErr := forget(); forgetErr != nil {
		a.ruleSet.log.Warn("forget a caller's address", "err", forgetErr)
	}
	if err != nil {
		return nil, err
	}

	tcp, ok := application.(*net.TCPConn)
	if !ok {
		_ = application.Close()
		return nil, fmt.Errorf("unexpected connection %T", application)
	}
	return tcp, nil
}

// take keeps a connection, and its place.
func (a *applicationRoute) take(conn *mux.TCP, cancel context.CancelFunc) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closing {
		return false
	}

	a.pool.takeOver()
	a.conns[conn] = cancel
	a.ruleSet.holdBackend()
	return true
}

// giveBack forgets a connection that has ended.
func (a *applicationRoute) giveBack(conn *mux.TCP) {
	a.mu.Lock()
	delete(a.conns, conn)
	a.mu.Unlock()

	a.pool.giveBack()
	a.ruleSet.releaseBackend()
}

// close resets what is left, and waits for its end.
func (a *applicationRoute) close() {
	a.mu.Lock()
	a.closing = true
	for conn, cancel := range a.conns {
		cancel()
		conn.Reset()
	}
	a.mu.Unlock()

	a.serving.Wait()
}
