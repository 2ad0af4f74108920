package redir

import (
	"context"
	"errors"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/redirectclient"
	"kdiag/kube"
)

// begin begins to redirect a pod.
func (f *follower) begin(ctx context.Context, t *track) *track {
	t.name = podName(t.pod)
	f.tracks[t.pod.UID] = t
	f.start(ctx, t)
	return t
}

// start makes an attempt to redirect a pod.
func (f *follower) start(ctx context.Context, t *track) {
	ctx, t.cancel = context.WithCancel(ctx)
	t.running, t.due = true, time.Time{}
	go func() {
		t.err = f.redirectPod(ctx, t)
		f.ended <- t
	}()
}

// noteEnded notes that an attempt is over. It returns an error if that ends the command.
func (f *follower) noteEnded(ctx context.Context, t *track) error {
	t.cancel()
	t.running = false
	wasArmed := t.armed.Swap(false)
	if wasArmed {
		t.failures = 0
	}
	if isOver(ctx) || t.err == nil && !t.isGoing() {
		f.keepFirst(t.err)
		return nil
	}

	var gone *kube.GoneError
	switch {
	case t.isGoing() && f.scope == scopePod && !wasArmed:
		return f.startError(t)
	case t.isGoing() && f.scope == scopePod:
		return f.endError(t)
	case t.isGoing():
		f.drop(t)
		return nil
	case errors.As(t.err, &gone) && gone.Pod:
		// The news why may be on its way.
		t.gone, t.due = gone, time.Now().Add(newsTime)
		return nil
	case errors.Is(t.err, redirectclient.ErrTakenOver):
		return f.yield(t)
	case f.mustEnd() && wasArmed:
		return applets.WithHint(t.err, "connections are no longer redirected; run the command again to redirect them")
	case f.mustEnd():
		return t.err
	}

	wait := min(firstRetry<<min(t.failures, 10), maxRetry)
	t.failures++
	t.due = time.Now().Add(wait)
	f.show.queue.PodFailed(podFailed{t.name, t.err, wait})
	return nil
}

// startError says why a pod that has ended was never redirected.
func (f *follower) startError(t *track) error {
	if t.err != nil && !errors.Is(t.err, context.Canceled) {
		return t.err
	}
	if err := kube.CheckTakesContainers(t.pod); err != nil {
		return err
	}
	return f.endError(t)
}

// yield leaves a pod to another session of the user's. It returns an error if there is no other pod
// left.
func (f *follower) yield(t *track) error {
	t.yielded = true
	for _, other := range f.tracks {
		if f.scope == scopeAll && !other.yielded && !other.isGoing() {
			f.show.queue.Problem(redirectclient.Problem{Pod: t.name, Err: t.err})
			return nil
		}
	}
	return t.err
}

// mustEnd reports whether a failure ends the command: where there is one pod only, or nothing has
// worked yet and nothing else is under way.
func (f *follower) mustEnd() bool {
	if f.scope == scopePod {
		return true
	}
	if f.tally.begun() {
		return false
	}

	for _, t := range f.tracks {
		if t.running {
			return false
		}
	}

	return true
}

// retryDue tries again what has failed, once its time has come.
func (f *follower) retryDue(ctx context.Context) error {
	for _, t := range f.tracks {
		switch {
		case t.running || t.due.IsZero() || time.Now().Before(t.due):
		case t.gone != nil:
			t.due = time.Time{}
			if err := f.noteGoing(ctx, t, "is gone ("+t.gone.Error()+")"); err != nil {
				return err
			}
		default:
			f.start(ctx, t)
		}
	}
	return nil
}

// nextRetry returns a channel that says when something is due.
func (f *follower) nextRetry() (at <-chan time.Time, stop func()) {
	var first time.Time
	for _, t := range f.tracks {
		if !t.running && !t.due.IsZero() && (first.IsZero() || t.due.Before(first)) {
			first = t.due
		}
	}
	if first.IsZero() {
		return nil, func() {}
	}

	timer := time.NewTimer(time.Until(first))
	return timer.C, func() { timer.Stop() }
}
