// Package redirectclient is the laptop's side of "redir": it asks the manager in
// a pod for redirects, connects what comes by them with programs on this
// machine, and gives the connections back at the end. It reads no flags and
// prints nothing: an Observer is told what happens. Its counterpart in the pod
// is package redirectserver.
package redirectclient

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"kdiag/applets"
	"kdiag/kube"
	"kdiag/mux"
	"kdiag/mux/wire"
)

// Config says what to redirect, and how.
type Config struct {
	// Version is this kdiag's; Holder, as USER@HOST, is shown to others who want
	// the same port.
	Version, Holder string
	// Redirects are those that were asked for. Without any, every port that
	// FindPorts returns is redirected to the same port here.
	Redirects []Spec
	// Describe says what the pod declares of a redirect's port; may be nil.
	Describe func(Spec) Declaration
	// FindDestinations says where connections to the host of a redirect go beside the addresses that
	// the pod's resolver knows, such as to a Service's endpoints. What it returns beside an error
	// counts. It may be nil.
	FindDestinations func(ctx context.Context, s Spec) ([]netip.AddrPort, error)
	// FindPorts may be nil: then the manager lists the ports that something in
	// the pod listens on outside loopback.
	FindPorts func(ctx context.Context) ([]uint16, error)
	// TakeOver closes the connections that are established at an incoming port.
	TakeOver bool
	// Backend is "auto", "nft" or "iptables".
	Backend string
	// FindProbes returns the health probes that come to a port of the pod, and the addresses that
	// the kubelet may have. They go to the application, unless LocalProbes sends them here. Nil
	// finds none.
	FindProbes  func(ctx context.Context, port uint16) ([]kube.HealthProbe, []netip.Addr)
	LocalProbes bool
	// ProxyProtocol begins each local connection with a PROXY header, version 2.
	ProxyProtocol bool
	// Timeout bounds the wait for the manager: for its greeting, for its list of
	// ports, and for all redirects together.
	Timeout time.Duration
	// Drain bounds how long connections may go on once ctx has ended.
	Drain time.Duration
	// Grace is how long the manager keeps a session whose connection was lost, and
	// OnDisconnect, one of wire.OnDisconnect…, what new connections do until the
	// laptop is back. 0 and "" leave both to the manager.
	Grace        time.Duration
	OnDisconnect string
	// MemoryLimit returns what the pod's memory is limited to, in bytes; 0 if it is not. It may be
	// nil.
	MemoryLimit func() int64
	// Redial makes another connection for the session, as mux.SessionOptions.Redial.
	// Nil ends the session with its connection.
	Redial func(ctx context.Context) (net.Conn, error)
	// Reopen opens another session after the manager has given the last one up. It is
	// tried again and again, unless its error is mux.ErrGivenUp. Nil ends Run with its
	// session.
	Reopen func(ctx context.Context, o mux.SessionOptions) (*mux.Session, error)
}

// Client redirects a pod's connections in a session with its manager.
type Client struct {
	config   Config
	observer Observer
	proxier  mux.Proxier
	dial     dialFunc
	began    time.Time
	serving  sync.WaitGroup // every connection

	strangers, surplus rareProblem // connections that were reset for it

	pod    Pod
	outage outage

	run     string        // tells this run from others
	yielded chan struct{} // has something when a redirect was taken over
	pauses  chan pauseRequest
	resumes chan struct{} // has something when a pause is over

	refusals int // times in a row that a redirect was refused; Run's own

	mu          sync.Mutex
	carrier     *carrier             // what connections come by
	lastCarrier *carrier             // the one before, if any
	redirects   map[uint32]*redirect // by the ID in a stream's header
	former      map[uint32]*redirect // by the IDs that they had before a pause
	lastID      uint32
	locals      map[*mux.TCP]struct{} // connections with programs on this machine

	served               atomic.Int64 // streams that are served now, whatever has become of them
	open, total, refused atomic.Int64
	cut                  atomic.Int64 // connections that ended with their session
	lost                 atomic.Int64 // streams that were reset here unserved
	received, sent       atomic.Int64
}

// New returns a Client that has redirected nothing yet; the summary's time begins. Its session is opened with
// SessionOptions.
func New(c Config, o Observer) *Client {
	client := &Client{
		config: c, observer: o, began: time.Now(), redirects: map[uint32]*redirect{}, former: map[uint32]*redirect{},
		run: rand.Text(), yielded: make(chan struct{}, 1), pauses: make(chan pauseRequest), resumes: make(chan struct{}, 1),
		locals: map[*mux.TCP]struct{}{}, proxier: mux.Proxier{Memory: copyMemory}, dial: dialProgram,
	}
	client.outage.observer, client.outage.grace = o, c.Grace
	client.outage.countOpen, client.outage.countCut = client.countOpen, client.countCut
	return client
}

// copyMemory limits the buffers of all connections that bytes are moving on. The
// laptop has more memory than the pod.
const copyMemory = 32 << 20

// SetRedirects replaces Config.Redirects, before Run.
func (c *Client) SetRedirects(specs []Spec) { c.config.Redirects = specs }

// Counters returns what has come so far.
func (c *Client) Counters() Counters {
	counters := Counters{
		Open: c.open.Load(), Total: c.total.Load(), Refused: c.refused.Load(),
		Cut: c.cut.Load(), Reset: c.lost.Load(),
		Received: c.received.Load(), Sent: c.sent.Load(),
	}
	for _, id := range c.redirectIDs() {
		if r := c.findRedirect(id); r != nil {
			recognized, ambiguous := r.countProbes()
			counters.Probes += recognized
			counters.Ambiguous += ambiguous
			counters.Reset += r.countRefused()
		}
	}
	return counters
}

// Run makes the redirects, calls started once they are all there, and serves
// their connections until ctx ends, in other sessions after this one if need be.
// Then it gives new connections back, waits for those in flight, and closes the
// session. It returns an error if a redirect cannot be made, or there is no session
// to be had any more.
func (c *Client) Run(ctx context.Context, pod Pod, session *mux.Session, started func()) error {
	c.pod = pod
	defer c.outage.watchStalls(ctx)()
	// Before the first redirect, whose connections may come at once.
	c.carry(ctx, session)
	c.outage.begin(pod)

	specs, err := c.prepare(ctx)
	if err == nil {
		err = c.startRedirects(ctx, specs)
	}
	if err != nil {
		// What was redirected meanwhile ends as it would later.
		c.giveBack(ctx)
		c.finish(ctx)
		return err
	}

	started()
	stopFollowing := c.followDestinations(ctx)
	lost := c.serveSessions(ctx)
	stopFollowing()
	if lost == nil || errors.Is(lost, ErrTakenOver) {
		c.giveBack(ctx)
	}
	c.finish(ctx)
	if lost != nil {
		c.observer.SessionLost(SessionLost{pod, lost})
	}
	c.observer.Finished(Summary{Pod: pod, Counters: c.Counters(), Duration: time.Since(c.began)})
	if lost == nil {
		return nil
	}
	if errors.Is(lost, ErrTakenOver) {
		return fmt.Errorf("redirect pod %s: %w", pod, lost)
	}

	return fmt.Errorf("the session with pod %s ended: %w", pod, lost)
}

// finish closes the session and waits for what is left of connections. After
// Ctrl-C a program that is paused must not keep the user waiting.
func (c *Client) finish(ctx context.Context) {
	c.currentCarrier().endCarrier()
	done := make(chan struct{})
	defer close(done)
	go c.abortAfter(ctx, done)
	c.serving.Wait()
}

// abortAfter resets what is left some time after ctx has ended, unless done is closed before.
func (c *Client) abortAfter(ctx context.Context, done <-chan struct{}) {
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	select {
	case <-done:
	case <-time.After(finishTimeout):
		c.abortLocals()
	}
}

// hello returns what each session begins with.
func (c *Client) hello() wire.Hello {
	h := wire.Hello{
		Version: c.config.Version, Holder: c.config.Holder,
		GraceSeconds: c.config.Grace.Seconds(), OnDisconnect: c.config.OnDisconnect, Run: c.run,
	}
	if c.config.MemoryLimit != nil {
		h.MemoryLimit = c.config.MemoryLimit()
	}
	return h
}

// prepare greets the manager and returns the redirects to make.
func (c *Client) prepare(ctx context.Context) ([]Spec, error) {
	if err := c.call(ctx, wire.RequestHello, c.hello(), nil); err != nil {
		return nil, c.explain("start a session with the manager", err)
	}
	if len(c.config.Redirects) > 0 {
		return c.config.Redirects, nil
	}

	findPorts := c.config.FindPorts
	if findPorts == nil {
		findPorts = c.listPorts
	}

	ports, err := findPorts(ctx)
	if err != nil {
		return nil, err
	}

	specs := make([]Spec, len(ports))
	for i, port := range ports {
		specs[i] = Spec{Port: port, Local: net.JoinHostPort(localhost, strconv.Itoa(int(port)))}
	}

	return specs, nil
}

// call sends a request and waits for its answer, for the config's timeout at most.
func (c *Client) call(ctx context.Context, name string, body, result any) error {
	return c.callOn(ctx, c.currentCarrier().session, name, body, result)
}

// callOn is call, in one of several sessions.
func (c *Client) callOn(ctx context.Context, session *mux.Session, name string, body, result any) error {
	ctx, cancel := kube.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	return session.Call(ctx, name, body, result)
}

// NameAPort is the hint where no port to redirect was found.
const NameAPort = "name a port, such as 8080 or 8080:3000"

// listPorts asks the manager, which is in the pod's network namespace.
func (c *Client) listPorts(ctx context.Context) ([]uint16, error) {
	var found wire.Listeners
	if err := c.call(ctx, wire.RequestListeners, nil, &found); err != nil {
		return nil, c.explain("list the listening ports", err)
	}

	if len(found.Ports) == 0 {
		err := fmt.Errorf("redirect every port of pod %s: nothing in the pod listens on an address other than loopback", c.pod)
		return nil, applets.WithHint(err, NameAPort)
	}

	return found.Ports, nil
}

// startRedirects makes the redirects. Where every port is meant, those that
// cannot be had are reported and left out.
func (c *Client) startRedirects(ctx context.Context, specs []Spec) error {
	ctx, cancel := kube.WithTimeout(ctx, c.config.Timeout)
	defer cancel()

	everyPort := len(c.config.Redirects) == 0
	started := 0
	var failed error
	for i, spec := range specs {
		err := c.startRedirect(ctx, uint32(i+1), spec)
		switch {
		case err == nil && ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			started++
		case !everyPort || ctx.Err() != nil:
			return err
		default:
			failed = err
			c.observer.Problem(Problem{c.pod, err})
		}
	}

	if started == 0 {
		return failed
	}

	return nil
}

func (c *Client) startRedirect(ctx context.Context, id uint32, spec Spec) error {
	// Before the request: connections may come before its answer does.
	r := &redirect{Spec: spec}
	c.mu.Lock()
	c.redirects[id] = r
	c.lastID = max(c.lastID, id)
	session := c.carrier.session
	c.mu.Unlock()

	err := c.attach(ctx, session, id, r, false)
	if err != nil && ctx.Err() == nil {
		c.mu.Lock()
		delete(c.redirects, id)
		c.mu.Unlock()
	}
	return err
}

// attach asks for a redirect, perhaps again, and reports it once it is there.
func (c *Client) attach(ctx context.Context, session *mux.Session, id uint32, r *redirect, again bool) error {
	request := wire.Attach{
		ID: id, Outgoing: r.Outgoing, Port: r.Port, Host: r.Host, Also: c.findDestinations(ctx, r),
		Backend: c.config.Backend, TakeOver: c.config.TakeOver, Again: again,
	}
	probes := c.addProbes(ctx, &request)

	// After Ctrl-C, too, it is better to know: what the manager has begun to redirect must be given
	// back in good order.
	waiting, cancel := outlast(ctx, attachPatience)
	defer cancel()
	var done wire.Attached
	if err := c.callOn(waiting, session, wire.RequestAttach, request, &done); err != nil {
		return c.explain("redirect "+r.String(), err)
	}
	if ctx.Err() != nil {
		r.markArmed()
		return context.Cause(ctx)
	}

	var declared Declaration
	if c.config.Describe != nil {
		declared = c.config.Describe(r.Spec)
	}
	r.reportStarted(c.observer, RedirectStarted{
		Listening: done.Listening, Declared: declared,
		Pod: c.pod, Redirect: r.Spec, Backend: done.Backend, Mesh: done.Mesh,
		Established: done.Established, TakenOver: done.TakenOver, Addresses: done.Addresses, Endpoints: done.Endpoints, Unproven: done.Unproven,
		Probes: probes, ProbesLocal: c.config.LocalProbes,
	})
	return nil
}

// explain adds to an error of the manager's what was asked for, and its hint.
func (c *Client) explain(doing string, err error) error {
	wrapped := fmt.Errorf("%s in pod %s: %w", doing, c.pod, err)
	var refused *mux.RemoteError
	if errors.As(err, &refused) && refused.Hint != "" {
		return applets.WithHint(wrapped, "%s", refused.Hint)
	}
	return wrapped
}

const (
	// attachPatience is how long after Ctrl-C the manager may take to finish a redirect that it is
	// making: it takes up to 2 s to prove one.
	attachPatience = 2500 * time.Millisecond
	// finishTimeout bounds the wait, after the session and Ctrl-C, for programs here
	// to take what was sent to them before.
	finishTimeout = 2 * time.Second
)
