package resumable

import (
	"bytes"
	"io"
	"net"
	"sync"
	"time"
)

// simulatedLink is a link of a certain rate (bytes a second, 0 is unlimited), delay in one
// direction, and buffer before its bottleneck.
type simulatedLink struct {
	rate   float64
	delay  time.Duration
	buffer float64
	// jitter, unless it is nil, is how much later than usual a packet arrives.
	jitter func() time.Duration
}

// dial returns both ends of a connection over the link.
func (l *simulatedLink) dial() (a, b net.Conn) {
	ab, ba := newSimulatedPath(l), newSimulatedPath(l)
	return &simulatedConn{in: ba, out: ab}, &simulatedConn{in: ab, out: ba}
}

// simulatedPath is one direction of a connection.
type simulatedPath struct {
	link    *simulatedLink
	packets chan packet
	closed  chan struct{}
	close   sync.Once
	departs time.Time // when the last packet leaves the bottleneck
	arrives time.Time
}

type packet struct {
	data    []byte
	arrives time.Time
}

func newSimulatedPath(l *simulatedLink) *simulatedPath {
	return &simulatedPath{link: l, packets: make(chan packet, 1<<14), closed: make(chan struct{})}
}

const packetSize = 4 << 10

// send puts one packet into the queue, when there is room.
func (p *simulatedPath) send(data []byte) error {
	if p.link.rate > 0 {
		full := time.Duration(p.link.buffer / p.link.rate * 1e9)
		p.departs = later(p.departs, time.Now())
		if !p.sleep(time.Until(p.departs) - full) {
			return net.ErrClosed
		}
		p.departs = p.departs.Add(time.Duration(float64(len(data)) / p.link.rate * 1e9))
	} else {
		p.departs = time.Now()
	}

	arrives := p.departs.Add(p.link.delay)
	if p.link.jitter != nil {
		arrives = arrives.Add(p.link.jitter())
	}
	p.arrives = later(p.arrives, arrives)

	select {
	case p.packets <- packet{bytes.Clone(data), p.arrives}:
		return nil
	case <-p.closed:
		return net.ErrClosed
	}
}

// sleep sleeps unless the path is closed meanwhile.
func (p *simulatedPath) sleep(d time.Duration) bool {
	if d <= 0 {
		select {
		case <-p.closed:
			return false
		default:
			return true
		}
	}

	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.closed:
		return false
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

type simulatedConn struct {
	net.Conn // nil: what is missing panics
	in, out  *simulatedPath
	rest     []byte
}

func (c *simulatedConn) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		select {
		case packet := <-c.in.packets:
			if !c.in.sleep(time.Until(packet.arrives)) {
				return 0, io.EOF
			}
			c.rest = packet.data
		case <-c.in.closed:
			return 0, io.EOF
		}
	}

	n := copy(p, c.rest)
	c.rest = c.rest[n:]

	return n, nil
}

func (c *simulatedConn) Write(p []byte) (n int, err error) {
	size := packetSize
	if c.out.link.rate == 0 {
		size = 64 << 10
	}
	for n < len(p) && err == nil {
		piece := p[n:min(len(p), n+size)]
		if err = c.out.send(piece); err == nil {
			n += len(piece)
		}
	}
	return n, err
}

func (c *simulatedConn) Close() error {
	for _, path := range []*simulatedPath{c.in, c.out} {
		path.close.Do(func() { close(path.closed) })
	}
	return nil
}

func (c *simulatedConn) SetDeadline(time.Time) error { return nil }
