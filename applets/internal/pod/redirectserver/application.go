package redirectserver

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"kdiag/mux"
	"kdiag/mux/wire"
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
	ctx     context.Context // ends when close begins
	stop    context.CancelFunc

	mu      sync.Mutex
	conns   map[*mux.TCP]struct{}
	serving sync.WaitGroup
}

func newApplicationRoute(rules *ruleSet, proxier *mux.Proxier, pool *connectionPool) *applicationRoute {
	ctx, stop := context.WithCancel(context.Background())
	return &applicationRoute{
		ruleSet: rules, proxier: proxier, pool: pool, ctx: ctx, stop: stop, conns: map[*mux.TCP]struct{}{},
	}
}

// serve passes a connection to the application in a goroutine of its own. It owns the connection and
// its place in the pool, which the caller gives back, and reports false without them if it is closed.
// It calls failed with why the application did not get the connection, one of wire.Refused….
func (a *applicationRoute) serve(conn *mux.TCP, to netip.AddrPort, failed func(why string)) bool {
	ctx, cancel := context.WithCancel(a.ctx)
	if !a.take(conn) {
		cancel()
		return false
	}

	go func() {
		defer a.serving.Done()
		defer cancel()
		defer a.giveBack(conn)
		if why := a.connect(ctx, conn, to); why != "" {
			failed(why)
		}
	}()
	return true
}

// connect dials the application, past every redirect, and copies until both directions have ended. It
// returns why it could not, one of wire.Refused….
func (a *applicationRoute) connect(ctx context.Context, conn *mux.TCP, to netip.AddrPort) (failed string) {
	if !a.awaitRoom(ctx) {
		return a.whyNot(wire.RefusedNoRoom)
	}
	defer a.pool.giveBack()

	tcp, err := a.dial(ctx, sourceAddress(conn).Addr(), to)
	if err != nil {
		a.ruleSet.log.Debug("connect to the application", "err", err)
		return a.whyNot(wire.RefusedByApplication)
	}

	a.proxier.Proxy(conn, mux.NewTCP(tcp), nil)
	return ""
}

// whyNot returns a reason, unless all ends.
func (a *applicationRoute) whyNot(why string) string {
	if a.ctx.Err() != nil {
		return wire.RefusedEnding
	}
	return why
}

// awaitRoom takes a place for the connection's second socket. It may have to wait: many connections
// that have waited for the laptop in vain come at once.
func (a *applicationRoute) awaitRoom(ctx context.Context) bool {
	patient, cancel := context.WithTimeout(ctx, roomPatience)
	defer cancel()
	return a.pool.takeReserved(patient)
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

// take keeps a connection, and its place, until serving is done.
func (a *applicationRoute) take(conn *mux.TCP) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ctx.Err() != nil {
		return false
	}

	a.serving.Add(1)
	a.pool.takeOver()
	a.conns[conn] = struct{}{}
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
	a.stop()
	for conn := range a.conns {
		conn.Reset()
	}
	a.mu.Unlock()

	a.serving.Wait()
}
