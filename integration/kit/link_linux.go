package kit

import (
	"bytes"
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
	// linkWindow limits the bytes of a connection that the other end has not yet
	// acknowledged, as a kernel's TCP does: Linux gives a sender 4 MiB at most
	// (tcp_wmem). Whoever sends more has to wait.
	linkWindow = 4 << 20
	// linkQueue limits the bytes that wait at the slow end of a link that has a rate,
	// as the memory of a router does.
	linkQueue = 256 << 10
	// narrowPiece is how many bytes a link that has a rate carries at once, 0.65 ms at
	// 50 Mbit/s, and widePiece what any other does.
	narrowPiece, widePiece = 4 << 10, 64 << 10
	// narrowBuffer and wideBuffer are what the kernel may hold before the link.
	narrowBuffer, wideBuffer = 32 << 10, 256 << 10
	// linkPieces limits the pieces on their way. It is so large that the bytes, and
	// not the sizes in which they are written, limit what a link carries.
	linkPieces = 64 << 10
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

// pieceSizes returns how many bytes are carried at once, and how many the kernel
// may hold before them.
func (d *linkDirection) pieceSizes() (piece, socketBuffer int) {
	if d.timePerByte > 0 {
		return narrowPiece, narrowBuffer
	}
	return widePiece, wideBuffer
}

// linkPiece carries bytes that are on their way, and when they arrive.
type linkPiece struct {
	bytes []byte
	due   time.Time
}

// carry copies from one connection to another until the first ends.
func (d *linkDirection) carry(to, from *net.TCPConn) {
	onTheWay, window := make(chan linkPiece, linkPieces), newByteWindow(linkWindow)
	go d.send(onTheWay, window, from)

	for piece := range onTheWay {
		time.Sleep(time.Until(piece.due)) // this is the link's delay
		if _, err := to.Write(piece.bytes); err != nil {
			break
		}
		// The sender learns of it half a round trip later.
		time.AfterFunc(d.delay, func() { window.release(len(piece.bytes)) })
	}

	// send ends, and must not wait for somebody to take its pieces.
	_, _ = to.Close(), from.Close()
	for piece := range onTheWay {
		window.release(len(piece.bytes))
	}
}

// send reads from a connection and puts each piece on its way.
func (d *linkDirection) send(onTheWay chan<- linkPiece, window *byteWindow, from *net.TCPConn) {
	defer close(onTheWay)
	size, socketBuffer := d.pieceSizes()
	_ = from.SetReadBuffer(socketBuffer)

	buffer := make([]byte, size)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			window.take(n)
			onTheWay <- linkPiece{bytes.Clone(buffer[:n]), d.waitForRoom(n)}
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

// byteWindow limits how many bytes are taken and not yet released.
type byteWindow struct {
	mu    sync.Mutex
	freed sync.Cond
	left  int
}

// newByteWindow returns a window of so many bytes.
func newByteWindow(size int) *byteWindow {
	w := &byteWindow{left: size}
	w.freed.L = &w.mu
	return w
}

// take waits until there is room, and takes so many bytes.
func (w *byteWindow) take(size int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.left < size {
		w.freed.Wait()
	}
	w.left -= size
}

// release gives bytes back.
func (w *byteWindow) release(size int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left += size
	w.freed.Signal()
}
