package redirectclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"kdiag/mux"

	"github.com/pires/go-proxyproto"
)

// redirect is a Spec that the manager was asked for.
type redirect struct {
	Spec
	// lastAddress is the address of Local that answered last, tried first: a name
	// such as localhost has several, of which often one is served.
	lastAddress atomic.Pointer[string]
	// reported says that the observer knows the redirect: only then is there more
	// to say of it.
	reported atomic.Bool
}

// acceptConnections serves the streams that the manager opens until the session
// ends.
func (c *Client) acceptConnections() {
	for {
		stream, err := c.session.Accept()
		if err != nil {
			return
		}
		c.serving.Go(func() { c.serveConnection(stream) })
	}
}

// serveConnection connects one stream with the local program. A program that is
// not there gives the caller what it would have got from the pod: a reset.
func (c *Client) serveConnection(stream *mux.Conn) {
	header := stream.Header
	r := c.findRedirect(header.Redirect)
	if r == nil {
		stream.Reset()
		err := fmt.Errorf("a connection from %s belongs to no redirect of this session", header.Source)
		c.observer.Problem(Problem{c.pod, err})
		return
	}

	connection := Connection{c.pod, r.Spec, header.Source, header.Destination}
	began := time.Now()
	c.open.Add(1)
	c.total.Add(1)
	c.observer.ConnectionOpened(connection)

	local, err := c.dialLocal(r, header)
	if err != nil {
		stream.Reset()
		c.open.Add(-1)
		c.refused.Add(1)
		c.observer.ConnectionRefused(ConnectionRefused{connection, err})
		return
	}

	result := c.proxier.Proxy(stream, local, c.countBytes)
	c.open.Add(-1)
	c.observer.ConnectionClosed(ConnectionClosed{
		Connection: connection, Received: result.Sent, Sent: result.Received, Duration: time.Since(began), Err: result.Err,
	})
}

// countBytes counts bytes as they pass: from the pod, and to it.
func (c *Client) countBytes(received, sent int) {
	c.received.Add(int64(received))
	c.sent.Add(int64(sent))
}

// dialTimeout bounds the wait for the local program to take a connection.
const dialTimeout = 10 * time.Second

// dialLocal connects to the local program. The caller closes the connection.
func (c *Client) dialLocal(r *redirect, header mux.Header) (*mux.TCP, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()

	conn, err := r.dial(ctx)
	if err != nil {
		return nil, explainDial(r.Local, err)
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

func (r *redirect) dial(ctx context.Context) (net.Conn, error) {
	var dialer net.Dialer
	if address := r.lastAddress.Load(); address != nil {
		if conn, err := dialer.DialContext(ctx, "tcp", *address); err == nil {
			return conn, nil
		}
	}

	conn, err := dialer.DialContext(ctx, "tcp", r.Local)
	if err == nil {
		address := conn.RemoteAddr().String()
		r.lastAddress.Store(&address)
	}

	return conn, err
}

// explainDial says in a few words what a dial's error means.
func explainDial(local string, err error) error {
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
