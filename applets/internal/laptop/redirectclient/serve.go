package redirectclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"kdiag/mux"

	"github.com/pires/go-proxyproto"
)

// incoming is a stream that the manager has opened, as mux.Conn is one.
type incoming interface {
	mux.Endpoint
	Header() mux.Header
}

// maxServed bounds the connections at a time. The manager takes fewer; one that
// does not keep to it must not exhaust this machine.
const maxServed = 8192

// acceptConnections serves the streams that the manager opens until the session
// ends.
func (c *Client) acceptConnections(ctx context.Context, on *carrier) {
	for {
		stream, err := on.session.Accept()
		if err != nil {
			return
		}
		c.acceptConnection(ctx, on, stream)
	}
}

// acceptConnection serves a stream in a goroutine of its own, unless there are too
// many.
func (c *Client) acceptConnection(ctx context.Context, on *carrier, stream incoming) {
	if c.served.Add(1) > maxServed {
		c.served.Add(-1)
		stream.Reset()
		c.lost.Add(1)
		c.reportRarely(&c.surplus, "reset connections beyond %d at once", maxServed)
		return
	}

	c.serving.Go(func() {
		defer c.served.Add(-1)
		c.serveConnection(ctx, on, stream)
	})
}

// serveConnection connects one stream with the local program. A program that is
// not there gives the caller what it would have got from the pod: a reset.
func (c *Client) serveConnection(ctx context.Context, on *carrier, stream incoming) {
	header := stream.Header()
	r := c.findRedirect(header.Redirect)
	if r == nil {
		stream.Reset()
		c.lost.Add(1)
		c.reportRarely(&c.strangers, "reset connections that belong to no redirect of this session, the last from %s", header.Source)
		return
	}

	connection := Connection{c.pod, r.Spec, header.Source, header.Destination}
	began, one := time.Now(), c.beginCarried(on)
	c.open.Add(1)
	c.total.Add(1)
	c.observer.ConnectionOpened(connection)

	local, err := c.dialLocal(ctx, r, header, stream)
	if err != nil {
		stream.Reset()
		c.open.Add(-1)
		c.refused.Add(1)
		c.endCarried(one, err)
		c.observer.ConnectionRefused(ConnectionRefused{connection, err})
		return
	}

	c.trackLocal(local)
	result := c.proxier.Proxy(stream, local, c.countBytes)
	c.untrackLocal(local)
	c.endCarried(one, result.Err)
	c.open.Add(-1)
	c.observer.ConnectionClosed(ConnectionClosed{
		Connection: connection, Received: result.Sent, Sent: result.Received, Duration: time.Since(began), Err: result.Err,
	})
}

// trackLocal has abortLocals find a connection.
func (c *Client) trackLocal(local *mux.TCP) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.locals[local] = struct{}{}
}

func (c *Client) untrackLocal(local *mux.TCP) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.locals, local)
}

// abortLocals resets the connections with local programs at once.
func (c *Client) abortLocals() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for local := range c.locals {
		local.Abort()
	}
}

// countBytes counts bytes as they pass: from the pod, and to it.
func (c *Client) countBytes(received, sent int) {
	c.received.Add(int64(received))
	c.sent.Add(int64(sent))
}

// dialTimeout bounds the wait for the local program to take a connection.
const dialTimeout = 10 * time.Second

// errCallerGone ends a dial for a caller that has reset its connection.
var errCallerGone = errors.New("the caller has gone away")

// dialLocal connects to the local program, for as long as ctx lasts and the
// caller waits for it. The caller of dialLocal closes the connection.
func (c *Client) dialLocal(ctx context.Context, r *redirect, header mux.Header, stream incoming) (*mux.TCP, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	ctx, give := context.WithCancelCause(ctx)
	defer give(nil)
	cancelWithCaller(ctx, give, stream)

	conn, err := r.dial(ctx, c.dial)
	if err != nil {
		return nil, explainDial(r.Local, err, context.Cause(ctx))
	}

	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, fmt.Errorf("connect to %s: a %T", r.Local, conn)
	}

	if c.config.ProxyProtocol {
		if _, err := proxyHeader(header).WriteTo(tcp); err != nil {
			_ = tcp.Close()
			return nil, fmt.Errorf("send the PROXY header to %s: %w", r.Local, err)
		}
	}

	return mux.NewTCP(tcp), nil
}

// cancelWithCaller cancels a context when the caller resets its stream.
func cancelWithCaller(ctx context.Context, cancel context.CancelCauseFunc, stream incoming) {
	caller, ok := stream.(interface{ PeerReset() <-chan struct{} })
	if !ok {
		return
	}

	gone := caller.PeerReset()
	go func() {
		select {
		case <-gone:
			cancel(errCallerGone)
		case <-ctx.Done():
		}
	}()
}

// dialFunc connects to an address, as dialProgram does.
type dialFunc = func(ctx context.Context, address string) (net.Conn, error)

// dial connects to the redirect's local program.
func (r *redirect) dial(ctx context.Context, dial dialFunc) (net.Conn, error) {
	if address := r.lastAddress.Load(); address != nil {
		if conn, err := dial(ctx, *address); err == nil {
			return conn, nil
		}
	}

	conn, err := dial(ctx, r.Local)
	if err == nil {
		address := conn.RemoteAddr().String()
		r.lastAddress.Store(&address)
	}

	return conn, err
}

// explainDial says in a few words what a dial's error means.
func explainDial(local string, err, cause error) error {
	if errors.Is(cause, errCallerGone) {
		return fmt.Errorf("connect to %s: %w", local, cause)
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("nothing listens on %s", local)
	}
	return fmt.Errorf("connect to %s: %w", local, err)
}

// proxyHeader tells the local program who called whom (PROXY protocol,
// version 2).
func proxyHeader(h mux.Header) *proxyproto.Header {
	return proxyproto.HeaderProxyFromAddrs(2, net.TCPAddrFromAddrPort(h.Source), net.TCPAddrFromAddrPort(h.Destination))
}
