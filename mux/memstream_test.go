package mux

import (
	"io"
	"sync"
)

// memStream is one end of a stream in memory. It has the order that a session's streams have:
// Read returns all that the far side wrote before its end or its reset, and Write fails as soon
// as the far side has reset.
type memStream struct {
	pair       *memPair
	near, far  *memHalf // what this side sends, and what it receives
	aborted    bool
	shrinks    int
	writeAhead chan struct{} // closed by the first Write that has to wait
}

// memPair is what both ends of a memStream share.
type memPair struct {
	mu      sync.Mutex
	changed sync.Cond
	limit   int // bytes that one direction holds
}

// memHalf is one direction of a memStream.
type memHalf struct {
	data         []byte
	ended, reset bool
	gone         chan struct{} // closed by the first reset
}

// newMemStreams makes the two ends of a stream whose directions hold limit bytes each.
func newMemStreams(limit int) (a, b *memStream) {
	pair := &memPair{limit: limit}
	pair.changed.L = &pair.mu
	forth, back := &memHalf{gone: make(chan struct{})}, &memHalf{gone: make(chan struct{})}
	return &memStream{pair: pair, near: forth, far: back, writeAhead: make(chan struct{})},
		&memStream{pair: pair, near: back, far: forth, writeAhead: make(chan struct{})}
}

// await waits until ready returns true. The caller holds the lock.
func (s *memStream) await(ready func() bool) {
	for !ready() {
		s.pair.changed.Wait()
	}
}

func (s *memStream) readable() bool {
	return s.aborted || len(s.far.data) > 0 || s.far.ended || s.far.reset
}

func (s *memStream) WaitReadable() error {
	s.pair.mu.Lock()
	defer s.pair.mu.Unlock()
	s.await(s.readable)
	return nil
}

func (s *memStream) Read(p []byte) (int, error) {
	s.pair.mu.Lock()
	defer s.pair.mu.Unlock()
	s.await(s.readable)

	switch {
	case s.aborted:
		return 0, errAborted
	case len(s.far.data) > 0:
		n := copy(p, s.far.data)
		s.far.data = s.far.data[n:]
		s.pair.changed.Broadcast()
		return n, nil
	case s.far.ended:
		return 0, io.EOF
	}

	return 0, ErrReset
}

func (s *memStream) Write(p []byte) (total int, err error) {
	s.pair.mu.Lock()
	defer s.pair.mu.Unlock()

	for {
		switch {
		case s.aborted:
			return total, errAborted
		case s.far.reset:
			return total, ErrReset
		case len(p) == 0:
			return total, nil
		}

		n := min(len(p), s.pair.limit-len(s.near.data))
		s.near.data = append(s.near.data, p[:n]...)
		total, p = total+n, p[n:]
		s.pair.changed.Broadcast()
		if len(p) > 0 && n == 0 {
			s.noteWait()
			s.pair.changed.Wait()
		}
	}
}

// noteWait tells a test that a Write has to wait. The caller holds the lock.
func (s *memStream) noteWait() {
	select {
	case <-s.writeAhead:
	default:
		close(s.writeAhead)
	}
}

func (s *memStream) CloseWrite() error {
	s.pair.mu.Lock()
	defer s.pair.mu.Unlock()
	if s.far.reset {
		return ErrReset
	}
	s.near.ended = true
	s.pair.changed.Broadcast()
	return nil
}

func (s *memStream) Reset() {
	s.pair.mu.Lock()
	defer s.pair.mu.Unlock()
	if !s.near.reset {
		close(s.near.gone)
	}
	s.aborted, s.near.reset = true, true
	s.pair.changed.Broadcast()
}

func (s *memStream) Close() error { return nil }

func (s *memStream) Shrink() {
	s.pair.mu.Lock()
	defer s.pair.mu.Unlock()
	s.shrinks++
}

// shrunk returns how often the stream was shrunk.
func (s *memStream) shrunk() int {
	s.pair.mu.Lock()
	defer s.pair.mu.Unlock()
	return s.shrinks
}

// PeerReset returns a channel that is closed when the far side has reset.
func (s *memStream) PeerReset() <-chan struct{} { return s.far.gone }
