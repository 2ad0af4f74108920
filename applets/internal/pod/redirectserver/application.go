package redirectserver

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"kdiag/mux"
	"kdiag/netfilter"
)

const (
	// maxToApplication bounds the connections that go to the application at a time.
	maxToApplication = 4096
	// applicationTimeout bounds the wait for the application to accept one.
	applicationTimeout = 30 * time.Second
)

// An applicationRoute passes redirected connections to where they were going. They outlive their
// redirect and its session, since nothing of them is the laptop's.
type applicationRoute struct {
	ruleSet *ruleSet
	proxier *mux.Proxier
	files   *quota
	slots   quota

	mu      sync.Mutex
	closing bool
	conns   map[*mux.TCP]struct{}
	serving sync.WaitGroup
}

func newApplicationRoute(rules *ruleSet, proxier *mux.Proxier, files *quota) *applicationRoute {
	a := &applicationRoute{ruleSet: rules, proxier: proxier, files: files, conns: map[*mux.TCP]struct{}{}}
	a.slots.left.Store(maxToApplication)
	return a
}

// serve passes a connection to the application in a goroutine of its own. It owns the connection,
// and reports false without it if there is no room for one more.
func (a *applicationRoute) serve(conn *mux.TCP, to netip.AddrPort) bool {
	if !a.take(conn) {
		return false
	}

	a.serving.Go(func() {
		defer a.giveBack(conn)
		if err := a.connect(conn, to); err != nil {
			conn.Reset()
		}
	})
	return true
}

// connect dials the application, past every redirect, and copies until both directions have ended.
func (a *applicationRoute) connect(conn *mux.TCP, to netip.AddrPort) error {
	dialer := net.Dialer{Control: netfilter.ControlMark(Mark), Timeout: applicationTimeout, KeepAlive: -1}
	application, err := dialer.DialContext(context.Background(), "tcp", to.String())
	if err != nil {
		return fmt.Errorf("connect to the application: %w", err)
	}

	tcp, ok := application.(*net.TCPConn)
	if !ok {
		_ = application.Close()
		return fmt.Errorf("connect to the application: unexpected connection %T", application)
	}

	a.proxier.Proxy(conn, mux.NewTCP(tcp), nil)
	return nil
}

// take keeps a connection, with a place and a descriptor for the application's side of it.
func (a *applicationRoute) take(conn *mux.TCP) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closing || !a.slots.takeOne() {
		return false
	}
	if !a.files.takeOne() {
		a.slots.giveBack()
		return false
	}
	if !a.files.takeOne() {
		a.files.giveBack()
		a.slots.giveBack()
		return false
	}

	a.conns[conn] = struct{}{}
	a.ruleSet.holdBackend()
	return true
}

// giveBack forgets a connection that has ended.
func (a *applicationRoute) giveBack(conn *mux.TCP) {
	a.mu.Lock()
	delete(a.conns, conn)
	a.mu.Unlock()

	a.files.giveBack()
	a.files.giveBack()
	a.slots.giveBack()
	a.ruleSet.releaseBackend()
}

// close resets what is left, and waits for its end.
func (a *applicationRoute) close() {
	a.mu.Lock()
	a.closing = true
	for conn := range a.conns {
		conn.Reset()
	}
	a.mu.Unlock()

	a.serving.Wait()
}
