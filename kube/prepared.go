package kube

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"os"
	"sync"
	"time"
)

// preparedConnection holds a connection to the API server that was dialled ahead of the stream
// that will use it. Each stream needs a connection of its own, and TCP and TLS take two or three
// round trips.
type preparedConnection struct {
	mu     sync.Mutex
	dialed *dialedConnection // nil for none
}

// dialedConnection is a connection that is being dialled, or waits to be used.
type dialedConnection struct {
	conn       net.Conn // nil if dialling failed; valid once dialDone is closed
	dialDone   chan struct{}
	cancelDial func() // ends the dialling
	// readEnd receives the error that ended the connection's Read. The server says nothing
	// before it is asked, but it may close the connection.
	readEnd chan error
	// expiry drops the connection if nobody takes it.
	expiry *time.Timer
}

// preparedLife limits how long a connection waits to be used. Servers and load balancers close
// one that stays silent; the strictest after 5 s (HAProxy's timeout http-request).
const preparedLife = 4 * time.Second

// DialAhead connects to the API server in the background, for a stream that will soon be opened,
// and returns at once. The connection is closed if no stream takes it within a few seconds. If
// dialling fails, the stream dials again and reports the error.
func (c *Cluster) DialAhead() {
	// A credential plugin may have to ask its user. Leave that to the first request.
	if c.streams.ExecProvider == nil {
		c.dialAhead()
	}
}

// dialAhead does the work of DialAhead once the credentials are known. It does nothing if there is
// a proxy, or a connection is prepared already.
func (c *Cluster) dialAhead() {
	at, err := url.Parse(c.streams.Host)
	if err != nil || at.Scheme != "https" || c.findProxy() != nil {
		return
	}

	c.prepared.mu.Lock()
	defer c.prepared.mu.Unlock()
	if c.prepared.dialed != nil {
		return
	}

	ctx, cancel := context.WithTimeout(context.Background(), preparedLife)
	d := &dialedConnection{dialDone: make(chan struct{}), cancelDial: cancel, readEnd: make(chan error, 1)}
	d.expiry = time.AfterFunc(preparedLife, func() { c.prepared.dropUnused(d) })
	c.prepared.dialed = d

	go func() {
		d.conn = c.dialTLS(ctx, at)
		close(d.dialDone)

		// Read, to learn of it if the server closes the connection.
		if d.conn != nil {
			_, err := d.conn.Read(make([]byte, 1))
			d.readEnd <- err
		}
	}()
}

// dialTLS connects as gorilla/websocket would. It returns nil if that fails.
func (c *Cluster) dialTLS(ctx context.Context, at *url.URL) net.Conn {
	config, err := c.streamTLS()
	if err != nil {
		return nil
	}

	port := at.Port()
	if port == "" {
		port = "443"
	}

	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(at.Hostname(), port))
	if err != nil {
		return nil
	}

	if config == nil {
		config = new(tls.Config)
	}
	if config.ServerName == "" {
		config.ServerName = at.Hostname()
	}

	secured := tls.Client(&bufferedConn{conn, bufio.NewReaderSize(conn, recordsBuffer)}, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil
	}
	return secured
}

// recordsBuffer is how much is read from the network at once, in bytes: several records of TLS, of
// which crypto/tls would read one or two.
const recordsBuffer = 64 << 10

// takeConnection returns the prepared connection, which the caller then owns, or nil if there is
// none or it has been closed. It waits for one that is still being dialled.
func (p *preparedConnection) takeConnection(ctx context.Context) net.Conn {
	p.mu.Lock()
	d := p.dialed
	p.dialed = nil
	p.mu.Unlock()
	if d == nil {
		return nil
	}

	d.expiry.Stop()
	defer d.cancelDial()

	select {
	case <-d.dialDone:
	case <-ctx.Done():
		d.closeWhenMade()
		return nil
	}

	if d.conn == nil {
		return nil
	}

	// A deadline in the past ends the Read, unless the server's close already has. crypto/tls
	// works on after a Read that timed out.
	_ = d.conn.SetReadDeadline(time.Unix(1, 0))
	if err := <-d.readEnd; !errors.Is(err, os.ErrDeadlineExceeded) {
		_ = d.conn.Close()
		return nil
	}

	_ = d.conn.SetReadDeadline(time.Time{})
	return d.conn
}

// dropUnused closes a connection that nobody has taken.
func (p *preparedConnection) dropUnused(d *dialedConnection) {
	p.mu.Lock()
	untaken := p.dialed == d
	if untaken {
		p.dialed = nil
	}
	p.mu.Unlock()
	if untaken {
		d.closeWhenMade()
	}
}

// closeWhenMade stops dialling, and closes the connection if there is one nevertheless.
func (d *dialedConnection) closeWhenMade() {
	d.cancelDial()
	go func() {
		<-d.dialDone
		if d.conn != nil {
			_ = d.conn.Close()
		}
	}()
}
