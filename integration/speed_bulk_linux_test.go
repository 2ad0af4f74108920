//go:build bench

package integration

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// direction says which way the bytes of a bulk stream flow.
type direction bool

const (
	podToLaptop direction = true
	laptopToPod direction = false
)

// bulk carries streams that flow as fast as they can until they are stopped.
type bulk struct {
	path           *speedPath
	conns          []*net.TCPConn // both ends of all
	sent, received atomic.Int64
	stopping       atomic.Bool
	sources, sinks sync.WaitGroup
	failed         chan error
}

// bulkPatience limits how long a bulk stream may take in all.
const bulkPatience = 2 * time.Minute

// startBulk starts bulk streams over a path.
func startBulk(t *testing.T, path *speedPath, streams int, to direction) *bulk {
	t.Helper()
	b := &bulk{path: path, failed: make(chan error, 2*streams)}
	for range streams {
		source, sink, err := path.openBothEnds()
		if err != nil {
			t.Fatal(err)
		}
		if to == laptopToPod {
			source, sink = sink, source
		}

		b.conns = append(b.conns, source, sink)
		_ = errors.Join(source.SetDeadline(time.Now().Add(bulkPatience)), sink.SetDeadline(time.Now().Add(bulkPatience)))
		b.sources.Go(func() { b.write(source) })
		b.sinks.Go(func() { b.read(sink) })
	}

	return b
}

// write writes to a source until the streams are stopped.
func (b *bulk) write(source *net.TCPConn) {
	piece := make([]byte, 64<<10)
	for !b.stopping.Load() {
		n, err := source.Write(piece)
		b.sent.Add(int64(n))
		if err != nil {
			b.failed <- fmt.Errorf("write to a bulk stream: %w", err)
			return
		}
	}
}

// read counts what arrives at a sink until it is closed.
func (b *bulk) read(sink *net.TCPConn) {
	piece := make([]byte, 64<<10)
	for {
		n, err := sink.Read(piece)
		b.received.Add(int64(n))
		b.path.moved.Add(int64(n))
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			b.failed <- fmt.Errorf("read a bulk stream: %w", err)
			return
		}
	}
}

// stop stops the sources, and waits until all that they had written has arrived:
// what follows must find an empty path. It does not wait for an end of data, which
// containerd passes on a second late.
func (b *bulk) stop(t *testing.T) {
	t.Helper()
	b.stopping.Store(true)
	b.sources.Wait()
	arrived := func() bool { return b.received.Load() == b.sent.Load() || len(b.failed) > 0 }
	if !waitClosely(bulkPatience, arrived) || len(b.failed) > 0 {
		close(b.failed)
		t.Fatalf("bulk streams: %d bytes sent, %d received: %v", b.sent.Load(), b.received.Load(), <-b.failed)
	}

	for _, conn := range b.conns {
		_ = conn.Close()
	}
	b.sinks.Wait()
}

// waitClosely waits until a condition holds, and looks every few milliseconds.
func waitClosely(limit time.Duration, holds func() bool) bool {
	end := time.Now().Add(limit)
	for !holds() {
		if time.Now().After(end) {
			return false
		}
		time.Sleep(2 * time.Millisecond)
	}
	return true
}

// A bulkWindow is the time that bulk streams are given to find their pace, and the
// time in which they are then measured.
type bulkWindow struct{ warmUp, measured time.Duration }

// The windows fit the round trip of a route.
var (
	nearWindow = bulkWindow{300 * time.Millisecond, time.Second}
	farWindow  = bulkWindow{time.Second, time.Second}
	longWindow = bulkWindow{2 * time.Second, 2 * time.Second}
)

// measureBulk returns how many MB a second arrive.
func measureBulk(t *testing.T, path *speedPath, streams int, to direction, window bulkWindow) float64 {
	t.Helper()
	b := startBulk(t, path, streams, to)

	time.Sleep(window.warmUp)
	began, before := time.Now(), b.received.Load()
	time.Sleep(window.measured)
	took, moved := time.Since(began), b.received.Load()-before

	b.stop(t)
	return float64(moved) / 1e6 / took.Seconds()
}

// openIdle opens connections, sends a byte each way through each, and leaves them
// open until close is called.
func openIdle(t *testing.T, path *speedPath, many int) (closeAll func()) {
	t.Helper()
	var conns []*net.TCPConn
	for range many {
		inPod, onLaptop, err := path.openBothEnds()
		if err != nil {
			t.Fatal(err)
		}

		conns = append(conns, inPod, onLaptop)
		if err := errors.Join(passByte(inPod, onLaptop), passByte(onLaptop, inPod)); err != nil {
			t.Fatal(err)
		}
	}

	return func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}
}

// passByte sends a byte from one end of a connection to the other.
func passByte(from, to *net.TCPConn) error {
	_ = to.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := from.Write([]byte{1}); err != nil {
		return err
	}
	_, err := io.ReadFull(to, make([]byte, 1))
	return errors.Join(err, to.SetReadDeadline(time.Time{}))
}
