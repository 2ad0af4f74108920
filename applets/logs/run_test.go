package logs

import (
	"context"
	"errors"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/statusline"
	"kdiag/kube"
)

// newJobRun returns a run that follows a Job which has ended, with its exit code as the run's.
func newJobRun(t *testing.T, stderr io.Writer, succeeded bool) *logsRun {
	t.Helper()
	r := &logsRun{
		options:  &options{exitCodeFrom: "e2e", drain: time.Second, drainMax: 10 * time.Second},
		follower: &follower{},
		delivery: &delivery{failed: make(chan struct{}), reached: make(chan struct{})},
		notes:    newNotes(stderr, false, statusline.New(io.Discard)),
		failed:   make(chan error, 1),
		jobs:     []*awaitedJob{{name: "e2e", end: &kube.JobEnd{Succeeded: succeeded, Text: "has ended"}}},
	}
	t.Cleanup(func() { close(r.notes.queue) })
	return r
}

func closedChannel() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// TestCtrlCWhileJobsDrain: Ctrl-C while the last lines of a Job are read ends the run with its cause,
// not with the Job's success.
func TestCtrlCWhileJobsDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newJobRun(t, io.Discard, true)
		ctx, cancel := context.WithCancelCause(t.Context())
		interrupted := errors.New("interrupted")
		time.AfterFunc(r.drain/2, func() { cancel(interrupted) })

		if err := r.followAlone(ctx, closedChannel()); !errors.Is(err, interrupted) {
			t.Errorf("followAlone = %v, want %v", err, interrupted)
		}
	})
}

// TestUntilOutranksJobs: once --until has matched, the run succeeds however the Job ends, before the
// match is seen, while the last lines are read, or later; the same goes for --for.
func TestUntilOutranksJobs(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			r := newJobRun(t, io.Discard, false)
			r.until, r.lasting, r.delivery.reached = regexp.MustCompile("done"), time.Nanosecond, closedChannel()
			time.Sleep(time.Second)

			if err := r.followAlone(t.Context(), closedChannel()); err != nil {
				t.Errorf("followAlone after --until = %v, want nil", err)
			}
		})
	}

	synctest.Test(t, func(t *testing.T) {
		r := newJobRun(t, io.Discard, false)
		r.until = regexp.MustCompile("done")
		time.AfterFunc(r.drain/2, func() { close(r.delivery.reached) })

		if err := r.followAlone(t.Context(), closedChannel()); err != nil {
			t.Errorf("followAlone with --until while lines are read = %v, want nil", err)
		}
	})

	synctest.Test(t, func(t *testing.T) {
		r := newJobRun(t, io.Discard, false)
		var exit *applets.ExitError
		if err := r.followAlone(t.Context(), closedChannel()); !errors.As(err, &exit) || exit.Code != 1 {
			t.Errorf("followAlone without --until = %v, want exit code 1", err)
		}
	})
}

// TestNoteOnLinesThatNeverEnd names what has ended while lines still come.
func TestNoteOnLinesThatNeverEnd(t *testing.T) {
	for want, child := range map[string]*childProcess{
		"10s after job/e2e ended (--drain-max)":     nil,
		"10s after the command ended (--drain-max)": {},
	} {
		synctest.Test(t, func(t *testing.T) {
			var stderr strings.Builder
			r := newJobRun(t, &stderr, true)
			r.child = child

			ctx, cancel := context.WithCancel(t.Context())
			var feeding sync.WaitGroup
			feeding.Go(func() {
				for ; ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
					r.delivery.last.Store(time.Now().UnixNano())
				}
			})
			r.drainLogs(t.Context())
			cancel()
			feeding.Wait()

			r.notes.await(time.Minute)
			if !strings.Contains(stderr.String(), want) {
				t.Errorf("stderr %q, want %q", stderr.String(), want)
			}
		})
	}
}
