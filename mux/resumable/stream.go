// Package resumable provides a reliable byte stream that outlives the connections that carry it.
// Both ends number the bytes, keep what the peer has not acknowledged, and send it again on the
// next connection. It measures the path, so that bulk data never fills the queues of the network.
package resumable

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// These are the reasons why a Stream refuses to work. Errors of Fail are the caller's.
var (
	ErrClosed       = fmt.Errorf("resumable stream: %w", net.ErrClosed)
	ErrShutdown     = errors.New("resumable stream: write after shutdown")
	ErrNoConnection = errors.New("resumable stream: no connection")
	ErrStopped      = errors.New("resumable stream: stopped waiting to send")
)

// Options says how a Stream behaves.
type Options struct {
	// Buffer limits the bytes that are kept: written and not yet acknowledged by the peer.
	Buffer int64
	// Heartbeat is how often an acknowledgement is sent at least. 0 means 3 s.
	Heartbeat time.Duration
	// Dead is how long a connection may be silent before it counts as lost. 0 means 10 s. Only time
	// in which this process ran and somebody read counts.
	Dead time.Duration
	// OnLost is called in a goroutine of its own, once for each connection that breaks by itself.
	OnLost func(err error)
}

const (
	defaultHeartbeat = 3 * time.Second
	defaultDead      = 10 * time.Second
	minBuffer        = 256 << 10
)

// Stream is one end of a reliable byte stream. Positions count the bytes of one direction from the
// stream's beginning; the end mark of Shutdown counts as one more byte.
type Stream struct {
	options Options
	epoch   time.Time // what now counts from

	reading sync.Mutex // held by Read
	writing sync.Mutex // held by Write, so that two do not mix
	batches sync.Pool  // of *[maxBatch]byte

	mu      sync.Mutex
	changed sync.Cond // the link, err, peerEnded, endAcked or room in the buffer changed
	link    *link     // the connection in use; nil while there is none
	err     error     // why the stream is over; set once

	kept     keptBytes // from what the peer acknowledged to what was written
	flushed  uint64    // position up to which bytes may be sent
	highSent uint64    // position up to which bytes, or the end mark, were ever sent
	ending   bool      // Shutdown was called: nothing is written any more
	endAcked bool      // the peer has acknowledged the end mark
	gate     gate

	received    uint64        // position up to which bytes were handed to Read's callers
	told        uint64        // what Received returned last
	lastArrival time.Duration // when the last of them came
	peerEnded   bool          // the peer's end mark has come
	lastHeard   time.Duration // when anything last came on links before this one
}

// New makes a stream that has no connection yet.
func New(o Options) *Stream {
	o.Buffer = max(o.Buffer, minBuffer)
	if o.Heartbeat <= 0 {
		o.Heartbeat = defaultHeartbeat
	}
	if o.Dead <= 0 {
		o.Dead = defaultDead
	}

	s := &Stream{options: o, epoch: time.Now()}
	s.changed.L = &s.mu
	s.batches.New = func() any { return new([maxBatch]byte) }
	s.kept.pool.New = func() any { return new(chunk) }
	s.gate.init()

	return s
}

// SetBuffer changes Options.Buffer. What is kept already stays until the peer has it.
func (s *Stream) SetBuffer(size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.options.Buffer = max(size, minBuffer)
	if s.link != nil {
		s.link.path.setCeiling(s.pathCeiling())
	}
	s.gate.dispatch(s)
	s.changed.Broadcast()
}

// pathCeiling returns the most that bulk data may keep: small data can always go. The caller holds
// mu.
func (s *Stream) pathCeiling() int64 { return s.options.Buffer - s.options.Buffer/16 }

// now returns the monotonic time since the stream was made.
func (s *Stream) now() time.Duration { return time.Since(s.epoch) }

// Close ends the stream at once: what the peer has not acknowledged is dropped, every method that
// waits returns ErrClosed, and the connection is closed in the background.
func (s *Stream) Close() error {
	s.Fail(ErrClosed)
	return nil
}

// Fail ends the stream like Close, with err as what the methods return from now on. The first error
// stays.
func (s *Stream) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.failLocked(err)
}

func (s *Stream) failLocked(err error) {
	if s.err != nil {
		return
	}
	if err == nil {
		err = ErrClosed
	}

	s.err = err
	s.dropLink()
	s.kept.drop()
	s.gate.fail(err)
	s.changed.Broadcast()
}

// Connected reports whether the stream has a connection, as far as it knows.
func (s *Stream) Connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()

	return s.link != nil
}

// RoundTrip returns the average round trip on this connection of late, 0 if none was measured.
func (s *Stream) RoundTrip() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.link == nil {
		return 0
	}
	return s.link.path.smoothed
}

// SilentFor returns how long ago a byte last came from the peer, by the monotonic clock; if none
// ever came, how long ago the stream was made.
func (s *Stream) SilentFor() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()

	heard := s.lastHeard
	if s.link != nil {
		heard = max(heard, time.Duration(s.link.heard.Load()))
	}

	return s.now() - heard
}
