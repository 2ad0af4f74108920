package kit

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// LinkSpeed describes a link between the laptop and the API server.
type LinkSpeed struct {
	RoundTrip time.Duration
	BitRate   int // bits a second, each way; 0 for no limit
}

const (
	// linkQueue limits the bytes that wait at the slow end of a link, as the memory
	// of a router does. Whoever sends more has to wait.
	linkQueue = 256 << 10
	// linkPiece is how many bytes a link carries at once: 0.65 ms at 50 Mbit/s.
	linkPiece = 4 << 10
	// linkSocketBuffer is what the kernel may hold before the link's own queue.
	linkSocketBuffer = 32 << 10
	// linkPieces limits the pieces that are on their way.
	linkPieces = 8 << 10
)

// StartLink starts a link to a port of this machine, and returns the address of
// its near end. All connections through it share its rate. It stands in the node's
// network, so that bytes reach it in packets of 1,500: a kernel that sends over
// loopback holds more in its own buffer than the link does in its queue.
func StartLink(t *testing.T, port string, speed LinkSpeed) (address string) {
	t.Helper()
	up, down := newLinkDirection(speed), newLinkDirection(speed)
	return StartServerIn(t, NodeNetwork, nodeAddress+":0", func(near *net.TCPConn) {
		far, err := DialFrom(NodeNetwork, net.JoinHostPort(HostAddress, port))
		if err != nil {
			_ = near.Close()
			return
		}

		go up.carry(far, near)
		down.carry(near, far)
	}).String()
}

const (
	// HostAddress is where the node reaches this machine.
	HostAddress = "10.199.0.1"
	// nodeAddress is where this machine reaches the node.
	nodeAddress = "10.199.0.2"
)

// linkDirection carries bytes one way, at the link's rate and with half its round
// trip.
type linkDirection struct {
	delay       time.Duration
	timePerByte time.Duration // 0 for no limit

	mu   sync.Mutex
	free time.Time // when all that was taken will have been sent
}

// newLinkDirection returns one way of a link.
func newLinkDirection(speed LinkSpeed) *linkDirection {
	d := &linkDirection{delay: speed.RoundTrip / 2}
	if speed.BitRate > 0 {
		d.timePerByte = 8 * time.Second / time.Duration(speed.BitRate)
	}
	return d
}

// linkBytes are bytes on their way, and when they arrive.
type linkBytes struct {
	bytes []byte
	due   time.Time
}

// carry copies from one connection to another until the first ends.
func (d *linkDirection) carry(to, from *net.TCPConn) {
	_ = from.SetReadBuffer(linkSocketBuffer)
	onTheWay := make(chan linkBytes, linkPieces)
	go d.send(onTheWay, from)

	for piece := range onTheWay {
		time.Sleep(time.Until(piece.due)) // this is the link's delay
		if _, err := to.Write(piece.bytes); err != nil {
			break
		}
	}

	_, _ = to.Close(), from.Close()
	for range onTheWay {
		// send must not wait for somebody to take its pieces.
		continue
	}
}

// send reads from a connection and puts each piece on its way.
func (d *linkDirection) send(onTheWay chan<- linkBytes, from io.Reader) {
	defer close(onTheWay)
	for {
		buffer := make([]byte, linkPiece)
		n, err := from.Read(buffer)
		if n > 0 {
			onTheWay <- linkBytes{buffer[:n], d.waitForRoom(n)}
		}
		if err != nil {
			return
		}
	}
}

// waitForRoom waits until so many bytes fit into the queue, and returns when they
// arrive at the other end.
func (d *linkDirection) waitForRoom(size int) (due time.Time) {
	d.mu.Lock()
	now := time.Now()
	if d.free.Before(now) {
		d.free = now
	}
	wait := d.free.Sub(now) - linkQueue*d.timePerByte
	d.free = d.free.Add(time.Duration(size) * d.timePerByte)
	due = d.free.Add(d.delay)
	d.mu.Unlock()

	time.Sleep(wait)
	return due
}
