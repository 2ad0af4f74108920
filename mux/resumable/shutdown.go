package resumable

import (
	"context"
	"fmt"
)

// Shutdown lets nothing more be written, sends all that was, and an end mark. It waits until the
// peer has acknowledged both, and returns an error if ctx ends before that, if there is no
// connection, or if the stream is over. It may be called again, after a Resume for example, which
// sends again what is missing. The peer's bytes go on being read.
func (s *Stream) Shutdown(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.changed.Broadcast()
	})
	defer stop()

	s.mu.Lock()
	defer s.mu.Unlock()

	s.beginEnding()
	for !s.endAcked && s.err == nil && s.link != nil && ctx.Err() == nil {
		s.changed.Wait()
	}

	switch {
	case s.endAcked:
		return nil
	case s.err != nil:
		return s.err
	case ctx.Err() != nil:
		return fmt.Errorf("shut down stream: %w", context.Cause(ctx))
	}

	return ErrNoConnection
}

// beginEnding lets the end mark follow what was written. The caller holds mu.
func (s *Stream) beginEnding() {
	if s.ending || s.err != nil {
		return
	}

	s.ending = true
	s.flushed = s.kept.end
	s.changed.Broadcast()
	if s.link != nil {
		s.link.work.Signal()
	}
}
