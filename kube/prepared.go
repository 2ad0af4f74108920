package kube

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"os"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// preparedConnection is a connection to the API server, made before there is a request for
// it. Each stream needs one of its own, and TCP and TLS take two round trips,
// or three.
type preparedConnection struct {
	mu     sync.Mutex
	dialed *dialedConnection
}

// dialedConnection is a connection that is made, or about to be.
type dialedConnection struct {
	conn       net.Conn // nil for none; to be read once made is closed
	made       chan struct{}
	cancelDial func() // of the dialling
	// idle is what the connection's Read ended with: the server has nothing to
	// say, but may close it.
	idle chan error
	// unused ends it when nobody has taken it.
	unused *time.Timer
}

// preparedLife is how long a connection may wait for its request. Servers, and
// load balancers before them, close one that stays silent; the strictest after
// 5 s (HAProxy's timeout http-request).
const preparedLife = 4 * time.Second

// DialAhead makes ready for a stream that will soon be opened, while other
// things are asked for. It returns at once. What it made ends unused after a
// few seconds; an error in it is told by the stream, which dials anew.
func (c *Cluster) DialAhead() {
	// A plugin may have to ask its user; that is for the first request to do.
	if c.streams.ExecProvider == nil {
		c.dialAhead()
	}
}

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
	d := &dialedConnection{made: make(chan struct{}), cancelDial: cancel, idle: make(chan error, 1)}
	d.unused = time.AfterFunc(preparedLife, func() { c.prepared.dropUnused(d) })
	c.prepared.dialed = d
	go func() {
		d.conn = c.dialTLS(ctx, at)
		close(d.made)
		if d.conn != nil {
			_, err := d.conn.Read(make([]byte, 1))
			d.idle <- err
		}
	}()
}

// dialTLS is a connection as gorilla/websocket makes it; nil when that fails.
func (c *Cluster) dialTLS(ctx context.Context, at *url.URL) net.Conn {
	config, err := rest.TLSConfigFor(c.streams)
	if err != nil {
		return nil
	}

	port := at.Port()
	if port == "" {
		port = "443"
	}

	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", net.JoinHostPort(at.Hostname(), port))
	if err != nil {
		return nil
	}

	return conn
}

// takeConnection is the connection, which is the caller's from now on; nil when there is
// none. It waits for one that is about to be made.
func (s *preparedConnection) takeConnection(ctx context.Context) net.Conn {
	s.mu.Lock()
	d := s.dialed
	s.dialed = nil
	s.mu.Unlock()
	if d == nil {
		return nil
	}

	d.unused.Stop()
	defer d.cancelDial()
	select {
	case <-d.made:
	case <-ctx.Done():
		d.closeWhenMade()
		return nil
	}

	if d.conn == nil {
		return nil
	}

	// crypto/tls goes on after a Read that timed out.
	_ = d.conn.SetReadDeadline(time.Unix(1, 0))
	if err := <-d.idle; !errors.Is(err, os.ErrDeadlineExceeded) {
		_ = d.conn.Close()
		return nil
	}

	_ = d.conn.SetReadDeadline(time.Time{})
	return d.conn
}

// dropUnused closes a connection that nobody has taken.
func (s *preparedConnection) dropUnused(d *dialedConnection) {
	s.mu.Lock()
	untaken := s.dialed == d
	if untaken {
		s.dialed = nil
	}
	s.mu.Unlock()
	if untaken {
		d.closeWhenMade()
	}
}

func (d *dialedConnection) closeWhenMade() {
	d.cancelDial()
	go func() {
		<-d.made
		if d.conn != nil {
			_ = d.conn.Close()
		}
	}()
}
