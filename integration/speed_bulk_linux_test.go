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
	path     *speedPath
	received atomic.Int64
	stopping atomic.Bool
	ends     sync.WaitGroup
	mu       sync.Mutex
	failed   error
}

// bulkPatience limits how long a bulk stream may take in all.
const bulkPatience = 2 * time.Minute

// startBulk starts bulk streams over a path.
func startBulk(t *testing.T, path *speedPath, streams int, to direction) *bulk {
	t.Helper()
	b := &bulk{path: path}
	for range streams {
		source, sink, err := path.openBothEnds()
		if err != nil {
			t.Fatal(err)
		}
		if to == laptopToPod {
			source, sink = sink, source
		}

		_ = errors.Join(source.SetDeadline(time.Now().Add(bulkPatience)), sink.SetDeadline(time.Now().Add(bulkPatience)))
		b.ends.Go(func() { b.note(b.write(source)) })
		b.ends.Go(func() { b.note(b.read(sink)) })
	}

	return b
}

// write writes to a source until the streams are stopped, and ends it cleanly.
func (b *bulk) write(source *net.TCPConn) error {
	defer source.Close()
	piece := make([]byte, 64<<10)
	for !b.stopping.Load() {
		if _, err := source.Write(piece); err != nil {
			return fmt.Errorf("write to a bulk stream: %w", err)
		}
	}

	// Its other end closes, too, once it has read everything.
	_ = source.CloseWrite()
	_, _ = io.Copy(io.Discard, source)
	return nil
}

// read counts what arrives at a sink until its end.
func (b *bulk) read(sink *net.TCPConn) error {
	defer sink.Close()
	piece := make([]byte, 64<<10)
	for {
		n, err := sink.Read(piece)
		b.received.Add(int64(n))
		b.path.moved.Add(int64(n))

		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read a bulk stream: %w", err)
		}
	}
}

// note keeps the first failure.
func (b *bulk) note(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed == nil {
		b.failed = err
	}
}

// stop stops the sources, and waits until all that they had written has arrived:
// what follows must find an empty path.
func (b *bulk) stop(t *testing.T) {
	t.Helper()
	b.stopping.Store(true)
	b.ends.Wait()
	if b.failed != nil {
		t.Fatal(b.failed)
	}
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
