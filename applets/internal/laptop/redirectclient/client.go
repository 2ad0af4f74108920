// Package redirectclient is the laptop's side of "redir": it asks the manager in
// a pod for redirects, connects what comes by them with programs on this
// machine, and gives the connections back at the end. It reads no flags and
// prints nothing: an Observer is told what happens. Its counterpart in the pod
// is package redirectserver.
package redirectclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
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
	// FindPorts may be nil: then the manager lists the ports that something in
	// the pod listens on outside loopback.
	FindPorts func(ctx context.Context) ([]uint16, error)
	// TakeOver closes the connections that are established at an incoming port.
	TakeOver bool
	// Backend is "auto", "nft" or "iptables".
	Backend string
	// ProxyProtocol begins each local connection with a PROXY header, version 2.
	ProxyProtocol bool
	// Timeout bounds the wait for the manager: for its greeting, for its list of
	// ports, and for all redirects together.
	Timeout time.Duration
	// Drain bounds how long connections may go on once ctx has ended.
	Drain time.Duration
}

// Client redirects a pod's connections in one session with its manager.
type Client struct {
	config   Config
	observer Observer
	proxier  mux.Proxier
	dial     dialFunc
	began    time.Time
	serving  sync.WaitGroup // every connection

	strangers, surplus rareProblem // connections that were reset for it

	pod     Pod
	session *mux.Session

	mu        sync.Mutex
	redirects map[uint32]*redirect  // by the ID in a stream's header
	locals    map[*mux.TCP]struct{} // connections with programs on this machine

	served               atomic.Int64 // streams that are served now, whatever has become of them
	open, total, refused atomic.Int64
	received, sent       atomic.Int64
}

// New returns a Client that has redirected nothing yet; the summary's time begins. Its session is opened with
// SessionOptions.
func New(c Config, o Observer) *Client {
	return &Client{
		config: c, observer: o, began: time.Now(), redirects: map[uint32]*redirect{},
		locals: map[*mux.TCP]struct{}{}, proxier: mux.Proxier{Memory: copyMemory}, dial: dialProgram,
	}
}

// copyMemory limits the buffers of all connections that bytes are moving on. The
// laptop has more memory than the pod.
const copyMemory = 32 << 20

// SessionOptions returns the options for the session that Run is given.
func (c *Client) SessionOptions() mux.SessionOptions {
	return mux.SessionOptions{Event: c.handleEvent}
}

// Counters returns what has come so far.
func (c *Client) Counters() Counters {
	return Counters{
		Open: c.open.Load(), Total: c.total.Load(), Refused: c.refused.Load(),
		Received: c.received.Load(), Sent: c.sent.Load(),
	}
}

// Run makes the redirects, calls started once they are all there, and serves
// their connections until ctx or the session ends. Then it gives new connections
// back, waits for those in flight, and closes the session. It returns an
// error if a redirect cannot be made or the session ends by itself.
func (c *Client) Run(ctx context.Context, pod Pod, session *mux.Session, started func()) error {
	c.pod, c.session = pod, session
	defer session.Close()

	specs, err := c.prepare(ctx)
	if err != nil {
		return err
	}

	// Before the first redirect, whose connections may come at once.
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		c.acceptConnections(serving)
		stopServing() // the session has ended, and with it every dial
	}()

	finish := func() {
		_ = session.Close()
		<-accepting
		if ctx.Err() != nil { // a program that is paused must not keep the user waiting
			defer time.AfterFunc(finishTimeout, c.abortLocals).Stop()
		}
		c.serving.Wait()
	}

	if err := c.startRedirects(ctx, specs); err != nil {
		finish()
		return err
	}

	started()
	select {
	case <-ctx.Done():
		c.giveBack(ctx)
	case <-session.Done():
	}

	lost := session.Err()
	finish()
	if lost != nil && ctx.Err() == nil {
		c.observer.SessionLost(SessionLost{pod, lost})
	}
	c.observer.Finished(Summary{pod, c.Counters(), time.Since(c.began)})
	if lost == nil || ctx.Err() != nil {
		return nil
	}

	return applets.WithHint(fmt.Errorf("the session with pod %s ended: %w", pod, lost),
		"connections are no longer redirected; run the command again to redirect them")
}

// prepare greets the manager and returns the redirects to make.
func (c *Client) prepare(ctx context.Context) ([]Spec, error) {
	hello := wire.Hello{Version: c.config.Version, Holder: c.config.Holder}
	if err := c.call(ctx, wire.RequestHello, hello, nil); err != nil {
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
		specs[i] = Spec{Port: port, Local: net.JoinHostPort("localhost", strconv.Itoa(int(port)))}
	}

	return specs, nil
}

// call sends a request and waits for its answer, for the config's timeout at most.
func (c *Client) call(ctx context.Context, name string, body, result any) error {
	ctx, cancel := kube.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	return c.session.Call(ctx, name, body, result)
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
	c.mu.Lock()
	c.redirects[id] = &redirect{Spec: spec}
	c.mu.Unlock()

	var done wire.Attached
	err := c.session.Call(ctx, wire.RequestAttach, wire.Attach{
		ID: id, Outgoing: spec.Outgoing, Port: spec.Port, Host: spec.Host,
		Backend: c.config.Backend, TakeOver: c.config.TakeOver,
	}, &done)
	if err != nil {
		c.mu.Lock()
		delete(c.redirects, id)
		c.mu.Unlock()
		return c.explain("redirect "+spec.String(), err)
	}

	c.findRedirect(id).reportStarted(c.observer, RedirectStarted{
		Pod: c.pod, Redirect: spec, Backend: done.Backend, Mesh: done.Mesh,
		Established: done.Established, TakenOver: done.TakenOver, Addresses: done.Addresses, Unproven: done.Unproven,
	})
	return nil
}

// findRedirect returns nil for an ID that no redirect has.
func (c *Client) findRedirect(id uint32) *redirect {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.redirects[id]
}

// redirectIDs returns the IDs of the redirects in the order of their making.
func (c *Client) redirectIDs() []uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.redirects))
}

// handleEvent reads what the manager says of its own accord.
func (c *Client) handleEvent(name string, body json.RawMessage) {
	var moved wire.Moved
	if name != wire.EventMoved || json.Unmarshal(body, &moved) != nil {
		return
	}
	if r := c.findRedirect(moved.ID); r != nil {
		r.reportMoved(c.observer, RedirectMoved{c.pod, r.Spec, moved.Addresses})
	}
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
	// detachTimeout bounds the wait for the manager to give new connections back.
	detachTimeout = 5 * time.Second
	// minDrain is the least that a drain takes: the end of a connection that is
	// over here may still be on its way to its caller.
	minDrain = time.Second
	// finishTimeout bounds the wait, after the session and Ctrl-C, for programs here
	// to take what was sent to them before.
	finishTimeout = 2 * time.Second
)

// giveBack has new connections go where they went before, and waits for those
// in flight until they have ended on both sides, for the drain's time at most.
func (c *Client) giveBack(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	detaching, cancel := context.WithTimeout(ctx, detachTimeout)
	defer cancel()
	for _, id := range c.redirectIDs() {
		c.findRedirect(id).silence()
		if err := c.session.Call(detaching, wire.RequestDetach, wire.Detach{ID: id}, nil); err != nil {
			c.observer.Problem(Problem{c.pod, c.explain("stop redirecting "+c.findRedirect(id).String(), err)})
		}
	}

	if open := c.open.Load(); open > 0 {
		c.observer.DrainStarted(DrainStarted{c.pod, open, c.config.Drain})
	}

	draining, cancel := context.WithTimeout(ctx, max(c.config.Drain, minDrain))
	defer cancel()
	// Its only failure is that the time is up, or the session over.
	_ = c.session.Call(draining, wire.RequestBye, nil, nil)
}
