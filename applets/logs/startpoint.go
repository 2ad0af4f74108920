package logs

import (
	"context"
	"errors"
	"time"

	"kdiag/kube"
)

// "From now on" cannot be a time, since clocks differ, nor the moment when a stream
// opens, since the kubelet does not report that before the first line. It is the
// last line that a container has logged: kdiag asks for it before the command
// starts, and follows the log from there.

// startTimeout bounds how long to wait for one container.
const startTimeout = 10 * time.Second

// startTries bounds how often one container is asked.
const startTries = 3

// findFirstStart finds where to begin in a source that was there at the start,
// before the follower is ready. A container that does not answer does not hold up
// the others: it is asked again when it is read.
func (s *logSource) findFirstStart(ctx context.Context) {
	if !s.f.slots.takeSlot(ctx) {
		return
	}
	defer s.f.slots.freeSlot()

	ctx, cancel := kube.WithTimeout(ctx, startTimeout)
	defer cancel()
	for range startTries {
		if s.findStart(ctx) || ctx.Err() != nil {
			return
		}
		s.waitForChange(ctx, firstRetry)
	}
}

// findStart finds where to begin. It returns false if the container did not answer.
func (s *logSource) findStart(ctx context.Context) bool {
	var err error
	if s.initial {
		err = s.readBeginning(ctx)
	}

	switch {
	case err == nil, errors.Is(err, kube.ErrNoLog), errors.Is(err, kube.ErrNoPod):
		// A container without a log yet is read from the beginning.
		s.startKnown = true
	case kube.IsAccessError(err):
		s.f.fail(err)
	case ctx.Err() == nil:
		s.failures++
		if s.failures == startTries {
			s.f.note("%s/%s: %v; retrying", s.pod, s.container, err)
		}
	}

	return s.startKnown
}

// readBeginning counts existing lines as read, or first passes on those that --tail
// or --since asks for.
func (s *logSource) readBeginning(ctx context.Context) error {
	if tail := s.f.tail; tail > 0 {
		s.beginning = true
		defer func() { s.beginning = false }()
		if _, _, err := s.readStream(ctx, kube.LogRequest{Tail: &tail}, nil); err != nil {
			return err
		}
		if !s.at.isEmpty() {
			return nil
		}
	}

	if s.f.since > 0 || s.f.tail < 0 {
		end, err := s.readEnd(ctx, kube.LogRequest{SinceSeconds: s.f.sinceSeconds()})
		if err != nil || end.last.at != 0 {
			s.oldUntil = end.last.at
			return err
		}
	}

	end, err := s.readEnd(ctx, kube.LogRequest{})
	if err == nil && end.last.at == 0 && !end.open {
		// The current instance has logged nothing; all of the previous one is old.
		end, err = s.readEnd(ctx, kube.LogRequest{Previous: true})
	}
	if err == nil && end.last.at != 0 {
		s.at.skipTo(end.last)
	}

	return err
}
