package logs

import (
	"context"
	"errors"
	"time"

	"kdiag/kube"
)

// "From now on" is neither a time of some clock nor the moment at which a
// stream opens, which the kubelet does not tell before the first line. It is
// the last line that a container has logged: it is asked for before the command
// starts, and following begins behind it.

// startTimeout bounds how long one container is waited for.
const startTimeout = 10 * time.Second

// startTries is how often it is asked.
const startTries = 3

// findFirstStart settles a source that was there at the start, before all is
// ready. A container that cannot be asked does not hold up the others: it is
// asked again when it is read.
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

// findStart finds where to begin. It is false where the container could not be
// asked.
func (s *logSource) findStart(ctx context.Context) bool {
	var err error
	if s.initial {
		err = s.readBeginning(ctx)
	}

	switch {
	case err == nil, errors.Is(err, kube.ErrNoLog), errors.Is(err, kube.ErrNoPod):
		// One that has no log yet is read from its beginning.
		s.startKnown = true
	case kube.IsRefused(err):
		s.f.fail(err)
	case ctx.Err() == nil:
		s.failures++
		if s.failures == startTries {
			s.f.note("%s/%s: %v; trying again", s.pod, s.container, err)
		}
	}

	return s.startKnown
}

// readBeginning has the lines that are there count as read, or passes on as many of
// them as were asked for.
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

	last, err := s.readLastLine(ctx, false)
	if err == nil && last.Time.IsZero() {
		// The present instance is silent so far; all of the one before is old.
		last, err = s.readLastLine(ctx, true)
	}

	if err != nil || last.Time.IsZero() {
		return err
	}

	at := last.Time
	if last.Open {
		// That line is new, once it is all there.
		at = at.Add(-1)
	}

	if s.f.since > 0 || s.f.tail < 0 {
		s.old = at.UnixNano()
	} else {
		s.at.skipTo(at)
	}

	return nil
}
