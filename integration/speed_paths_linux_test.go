//go:build bench

package integration

import (
	"fmt"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"kdiag/integration/kit"
	"kdiag/netfilter/netnstest"
)

// speedRoute describes how far, and how narrow, the way to the API server is.
type speedRoute struct {
	roundTrip time.Duration
	bitRate   int // bits a second, each way; 0 for no limit
}

// The routes of the table.
var (
	nearRoute   = speedRoute{}
	farRoute    = speedRoute{roundTrip: kit.Distance}
	narrowRoute = speedRoute{roundTrip: 20 * time.Millisecond, bitRate: 50e6}
	longRoute   = speedRoute{roundTrip: 100 * time.Millisecond, bitRate: 100e6}
)

// start starts the route to a port of this machine, and returns the address of its
// near end. KDIAG_BENCH_TOXIPROXY=1 makes Toxiproxy the route of 50 ms, to compare.
func (r speedRoute) start(t *testing.T, name, host, port string) (address string) {
	t.Helper()
	switch {
	case r == nearRoute:
		return net.JoinHostPort(host, port)
	case r == farRoute && os.Getenv("KDIAG_BENCH_TOXIPROXY") != "":
		return kit.StartToxiproxy(t).Delay(t, name, net.JoinHostPort(host, port))
	}
	return kit.StartLink(t, port, kit.LinkSpeed{RoundTrip: r.roundTrip, BitRate: r.bitRate})
}

// speedPath carries connections between the pod "app" and this machine, in one of
// the ways that are compared.
type speedPath struct {
	// address is what callers connect to: for kdiag the pod's, from the node; for a
	// port-forward this machine's. They reach the program at the other end.
	address     string
	callerInPod bool
	program     *speedProgram

	laptop, manager int          // process ids; manager is 0 for a port-forward
	moved           atomic.Int64 // bytes of bulk streams
}

// speedPaths carries both ways over one route.
type speedPaths struct {
	kdiag, plain *speedPath
	roundTrip    time.Duration // of the route itself, measured
}

// speedPods names the pods that are measured.
type speedPods struct {
	namespace, app string
	network        netnstest.Namespace // of the pod "app"
}

// createSpeedPods creates the pods that are measured.
func createSpeedPods(t *testing.T) speedPods {
	t.Helper()
	namespace, app, _ := kit.CreateRedirPods(t)
	return speedPods{namespace, app, kit.FindPodNetwork(t, namespace, "app")}
}

// openSpeedPaths opens both ways to the pod over a route. They are closed at the
// end of the test.
func openSpeedPaths(t *testing.T, pods speedPods, route speedRoute) *speedPaths {
	t.Helper()
	to := kit.ReadServerURL(t)
	server := "https://" + route.start(t, "api", to.Hostname(), to.Port())
	paths := &speedPaths{
		kdiag: openKdiagPath(t, pods, server, to.Hostname()),
		plain: openPlainPath(t, pods, server, to.Hostname()),
	}

	echo := kit.StartServer(t, kit.HostAddress+":0", kit.EchoBytes)
	paths.roundTrip = measureRoundTrip(t, route.start(t, "echo", kit.HostAddress, echo))

	return paths
}

// openKdiagPath redirects the pod's port to a program on this machine.
func openKdiagPath(t *testing.T, pods speedPods, server, tlsName string) *speedPath {
	t.Helper()
	program := newSpeedProgram()
	here := kit.StartLocalServer(t, program.handle)
	redir := kit.StartRedirects(t, 1, "-n", pods.namespace, "app", "7000:"+here.Port, "-q", "--server="+server, "--tls-server-name="+tlsName)
	t.Cleanup(func() { redir.Interrupt() })

	return &speedPath{
		address:     pods.app + ":7000",
		callerInPod: true,
		program:     program,
		laptop:      redir.PID(),
		manager:     kit.FindNetManager(t, pods.namespace),
	}
}

// openPlainPath forwards a port of this machine to a program in the pod's network.
func openPlainPath(t *testing.T, pods speedPods, server, tlsName string) *speedPath {
	t.Helper()
	program := newSpeedProgram()
	there := kit.StartServerIn(t, pods.network, "127.0.0.1:0", program.handle).(*net.TCPAddr)
	forward, address := startPlainForward(t, server, tlsName, pods.namespace, "app", fmt.Sprint(there.Port))
	t.Cleanup(func() { forward.Stop() })

	return &speedPath{
		address: address,
		program: program,
		laptop:  forward.PID(),
	}
}

// asCaller runs f in the network from which callers come.
func (p *speedPath) asCaller(f func() error) error {
	if p.callerInPod {
		return kit.NodeNetwork.Do(f)
	}
	return f()
}

// dialHere connects as a caller does. It must run by asCaller.
func (p *speedPath) dialHere() (*net.TCPConn, error) {
	conn, err := net.DialTimeout("tcp", p.address, 20*time.Second)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// dial connects as a caller does.
func (p *speedPath) dial() (conn *net.TCPConn, err error) {
	err = p.asCaller(func() (err error) {
		conn, err = p.dialHere()
		return err
	})
	return conn, err
}

// openBothEnds opens a connection and returns both of its ends. No other may be
// opened meanwhile.
func (p *speedPath) openBothEnds() (inPod, onLaptop *net.TCPConn, err error) {
	p.program.setHandler(nil)
	caller, err := p.dial()
	if err != nil {
		return nil, nil, err
	}

	select {
	case called := <-p.program.accepted:
		if p.callerInPod {
			return caller, called, nil
		}
		return called, caller, nil
	case <-time.After(20 * time.Second):
		_ = caller.Close()
		return nil, nil, fmt.Errorf("dial %s: the program was not called", caller.RemoteAddr())
	}
}

// speedProgram is the program that callers reach. It handles a connection as the
// row that is measured wants.
type speedProgram struct {
	accepted chan *net.TCPConn
	handler  atomic.Pointer[func(*net.TCPConn)]
}

// newSpeedProgram returns a program that hands out the connections it gets.
func newSpeedProgram() *speedProgram {
	return &speedProgram{accepted: make(chan *net.TCPConn, 1)}
}

// setHandler sets what is done with connections from now on. Without a handler
// they are handed out.
func (p *speedProgram) setHandler(handle func(*net.TCPConn)) {
	if handle == nil {
		p.handler.Store(nil)
		return
	}
	p.handler.Store(&handle)
}

// handle handles a connection.
func (p *speedProgram) handle(conn *net.TCPConn) {
	if handle := p.handler.Load(); handle != nil {
		(*handle)(conn)
		return
	}
	p.accepted <- conn
}

// measureRoundTrip returns the median time that a byte takes to an address and
// back.
func measureRoundTrip(t *testing.T, address string) time.Duration {
	t.Helper()
	dialled, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer dialled.Close()

	var times []time.Duration
	for range 21 {
		began := time.Now()
		if err := kit.ExchangeText(dialled.(*net.TCPConn), "x"); err != nil {
			t.Fatal(err)
		}
		times = append(times, time.Since(began))
	}

	slices.Sort(times)
	return times[len(times)/2]
}
