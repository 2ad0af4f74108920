package mux

import (
	"bufio"
	"crypto/tls"
	"net"
	"sync"
)

// tlsConn is a TLS connection whose Write hands all of its records to the connection below at once.
type tlsConn struct {
	*tls.Conn
	below *gatheringConn
}

// newTLSConn makes a TLS connection on conn, by tls.Client or tls.Server.
func newTLSConn(conn net.Conn, config *tls.Config, start func(net.Conn, *tls.Config) *tls.Conn) *tlsConn {
	below := &gatheringConn{Conn: conn}
	return &tlsConn{start(below, config), below}
}

// recordsBuffer is how much is read from the network at once, in bytes: several records, of which
// crypto/tls would read one or two.
const recordsBuffer = 64 << 10

// readAhead reads more from the network than it is asked for.
type readAhead struct {
	net.Conn
	buffer *bufio.Reader
}

func (r *readAhead) Read(p []byte) (int, error) { return r.buffer.Read(p) }

func (c *tlsConn) Write(p []byte) (int, error) {
	c.below.gather()
	n, err := c.Conn.Write(p)
	if sendErr := c.below.send(); err == nil {
		err = sendErr
	}
	return n, err
}

// Close closes the connection below, and says nothing to the peer. TLS would send an alert first,
// which blocks on a connection that is stuck.
func (c *tlsConn) Close() error { return c.below.Close() }

// gatheringConn keeps what is written between gather and send, to write it at once.
type gatheringConn struct {
	net.Conn

	mu        sync.Mutex
	gathering bool
	gathered  []byte
}

func (g *gatheringConn) gather() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gathering = true
}

// send writes what was gathered.
func (g *gatheringConn) send() error {
	g.mu.Lock()
	defer g.mu.Unlock()

	g.gathering = false
	if len(g.gathered) == 0 {
		return nil
	}

	_, err := g.Conn.Write(g.gathered)
	if cap(g.gathered) > maxGathered {
		g.gathered = nil
	}
	g.gathered = g.gathered[:0]
	return err
}

// maxGathered is the largest buffer that is kept, in bytes: a batch of the link with TLS's part.
const maxGathered = 80 << 10

func (g *gatheringConn) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gathering {
		g.gathered = append(g.gathered, p...)
		return len(p), nil
	}
	return g.Conn.Write(p)
}
