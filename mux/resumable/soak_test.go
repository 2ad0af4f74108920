package resumable

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// cuttingConn breaks after a number of bytes, in the middle of a Read or Write.
type cuttingConn struct {
	net.Conn
	left atomic.Int64
}

var errCut = errors.New("cut by the test")

func (c *cuttingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if over := -c.left.Add(int64(-n)); over > 0 {
		_ = c.Close()
		return max(n-int(over), 0), errCut
	}
	return n, err
}

func (c *cuttingConn) Write(p []byte) (int, error) {
	n := len(p)
	if left := c.left.Add(int64(-n)) + int64(n); left < int64(n) {
		written, _ := c.Conn.Write(p[:max(left, 0)])
		_ = c.Close()
		return written, errCut
	}
	return c.Conn.Write(p)
}

// TestSoak sends random bytes both ways over connections that break, or are replaced, at random
// bytes, with readers that are slow at times. All must arrive once and in order.
func TestSoak(t *testing.T) {
	for seed := range uint64(6) {
		for _, kind := range []string{"pipe", "tcp"} {
			t.Run(fmt.Sprintf("%s seed %d", kind, seed), func(t *testing.T) {
				soak(t, seed, kind == "tcp")
			})
		}
	}
}

const soakBytes = 3 << 20

func soak(t *testing.T, seed uint64, overTCP bool) {
	lost := make(chan struct{}, 1)
	a, b := newPair(t, Options{Buffer: 512 << 10, OnLost: func(error) {
		select {
		case lost <- struct{}{}:
		default:
		}
	}})

	ctx, cancel := context.WithCancel(context.Background())
	var reconnecting, moving sync.WaitGroup
	reconnecting.Go(func() { keepConnected(ctx, t, a, b, seed, overTCP, lost) })

	for i, ends := range [][2]*Stream{{a, b}, {b, a}} {
		sent, got := sha256.New(), sha256.New()
		var both sync.WaitGroup
		both.Go(func() { writeRandom(t, ends[0], rand.New(rand.NewPCG(seed, uint64(i))), sent) })
		both.Go(func() { readSlowly(t, ends[1], rand.New(rand.NewPCG(seed, uint64(i+2))), got) })
		moving.Go(func() {
			both.Wait()
			if !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
				t.Errorf("direction %d: what was read is not what was written", i)
			}
		})
	}

	moving.Wait()
	cancel()
	reconnecting.Wait()
}

// keepConnected makes connections that live for a random number of bytes until ctx ends.
func keepConnected(ctx context.Context, t *testing.T, a, b *Stream, seed uint64, overTCP bool, lost <-chan struct{}) {
	random := rand.New(rand.NewPCG(seed, 9))
	for ctx.Err() == nil {
		connA, connB := net.Pipe()
		if overTCP {
			connA, connB = loopback(t)
		}

		cutA, cutB := &cuttingConn{Conn: connA}, &cuttingConn{Conn: connB}
		cutA.left.Store(random.Int64N(1 << (5 + random.Int64N(16))))
		cutB.left.Store(random.Int64N(1 << (5 + random.Int64N(16))))
		connect(t, a, b, cutA, cutB)

		// Some are replaced while they live.
		replace := time.Hour
		if random.IntN(3) == 0 {
			replace = time.Duration(random.Int64N(int64(5 * time.Millisecond)))
		}
		select {
		case <-ctx.Done():
		case <-lost:
		case <-time.After(replace):
		}
	}
}

func writeRandom(t *testing.T, s *Stream, random *rand.Rand, sum hash.Hash) {
	source := rand.NewChaCha8([32]byte{byte(random.Uint32())})
	buffer := make([]byte, 100<<10)
	for left := soakBytes; left > 0; {
		p := buffer[:min(left, 1+random.IntN(1<<(1+random.IntN(16))))]
		_, _ = source.Read(p)
		sum.Write(p)
		if n, err := s.Write(p); n != len(p) || err != nil {
			t.Errorf("Write = %d, %v, want %d", n, err, len(p))
			return
		}

		clear(p)
		left -= len(p)
		if random.IntN(3) > 0 {
			s.Flush()
		}
	}

	shutDown(t, s)
}

func readSlowly(t *testing.T, s *Stream, random *rand.Rand, sum hash.Hash) {
	buffer := make([]byte, 100<<10)
	for {
		n, err := s.Read(buffer[:1+random.IntN(1<<(1+random.IntN(16)))])
		sum.Write(buffer[:n])
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Errorf("Read: %v", err)
			return
		}
		if random.IntN(100) == 0 {
			time.Sleep(time.Duration(random.Int64N(int64(2 * time.Millisecond))))
		}
	}
}
