package logs

import (
	"context"
	"errors"
	"sync"
	"time"

	"kdiag/kube"

	"k8s.io/apimachinery/pkg/types"
)

// logSource is one container of one pod, all its instances in turn. What it reads
// is right by its position alone: whatever stream the kubelet gives, of which
// instance, from wherever, each line is passed on once.
type logSource struct {
	f               *follower
	namespace, pod  string
	uid             types.UID
	container, node string
	// initial says that it was there at the start: what it had logged by then
	// is old.
	initial bool

	// running is the follower's: whether the source has a goroutine.
	running bool

	// What follows is of that goroutine.
	asked bool // whether it was settled, or read, at the start
	at    position
	// old is the time of the last line that was there at the start, in
	// nanoseconds.
	old int64
	// beginning says that what is read now was there at the start.
	beginning bool
	// settled says that the position is known.
	startKnown bool
	// restarts is the instance up to which everything was read.
	restarts int
	// suspect says that a stream broke off: an instance may have ended
	// meanwhile.
	suspect  bool
	failures int
	lastSeen lastSeen // of the last stream
	cut      bool     // a line too long was noted

	mu       sync.Mutex
	now      kube.Instance
	gone     bool
	finished kube.Instance // read to its end, with nothing to come
	live     bool          // a stream is open that follows
	// idle ends the stream of the present instance; nil once a line has come
	// of it. The kubelet knows of a restart before the API does: a stream may
	// be of the next instance while the one before was not read to its end.
	idle    context.CancelFunc
	read    time.Time     // when the last reading began that saw the log's end
	changed chan struct{} // has one value after a change of now or gone
}

// setInstance takes note of the container's present instance.
func (s *logSource) setInstance(now kube.Instance) {
	s.mu.Lock()
	changed := now != s.now || s.gone
	if s.idle != nil && now.Restarts != s.now.Restarts {
		s.idle()
	}
	s.now, s.gone = now, false
	s.mu.Unlock()
	if changed {
		s.wake()
	}
}

func (s *logSource) isGone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gone
}

func (s *logSource) setGone() {
	s.mu.Lock()
	s.gone = true
	s.mu.Unlock()
	s.wake()
}

func (s *logSource) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// followLog reads the container's log until ctx ends or the pod is gone.
func (s *logSource) followLog(ctx context.Context) {
	for s.awaitLog(ctx) {
		s.f.slots.addReader()
		for s.hasUnread() && ctx.Err() == nil {
			s.waitForChange(ctx, s.readOrFollow(ctx))
		}
		s.f.slots.removeReader()
	}
}

// awaitLog waits until there is something to read; false where there will be
// nothing more.
func (s *logSource) awaitLog(ctx context.Context) bool {
	for {
		switch {
		case s.isGone() || ctx.Err() != nil:
			return false
		case s.hasUnread():
			return true
		}
		select {
		case <-s.changed:
		case <-ctx.Done():
		}
	}
}

// hasUnread reports whether the present instance has, or will have, more to read.
func (s *logSource) hasUnread() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	same := s.now.ID == s.finished.ID && s.now.Restarts == s.finished.Restarts
	return !s.gone && s.now.ID != "" && !same
}

// isBehind reports whether there may be lines from before a time that were not
// read yet.
func (s *logSource) isBehind(when time.Time) bool {
	s.mu.Lock()
	live, read := s.live, s.read
	s.mu.Unlock()
	return s.hasUnread() && !live && read.Before(when)
}

// waitForChange waits until the next visit, or for a change.
func (s *logSource) waitForChange(ctx context.Context, wait time.Duration) {
	if wait == 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.changed:
	case <-ctx.Done():
	}
}

const (
	// pollEvery is the least time between two readings of a log that is not
	// followed for want of a free stream.
	pollEvery = time.Second
	// firstRetry and lastRetry are the pauses after a stream that broke; they
	// double from the one to the other.
	firstRetry = 100 * time.Millisecond
	lastRetry  = 3 * time.Second
)

// readOrFollow opens the log once and reads what there is, or follows it. It returns
// how long to wait before the next visit.
func (s *logSource) readOrFollow(ctx context.Context) time.Duration {
	if !s.f.slots.takeSlot(ctx) {
		return 0
	}
	defer s.f.slots.freeSlot()

	if !s.startKnown && !s.findStart(ctx) {
		return s.nextRetry()
	}

	now := s.currentInstance()
	if err := s.readPrevious(ctx, now); err != nil {
		return s.noteFailure(ctx, now, err)
	}

	yield := s.f.slots.yieldSignal()
	follow := now.Running && !isClosed(yield)
	if !follow {
		yield = nil
	}

	began := time.Now()
	streaming, cancel := context.WithCancel(ctx)
	defer cancel()
	s.setLive(follow, cancel)
	lines, open, err := s.readStream(streaming, kube.LogRequest{Follow: follow}, yield)
	s.setLive(false, nil)
	if lines > 0 {
		s.failures = 0
	}

	switch {
	case err != nil && ctx.Err() == nil && (follow && isClosed(yield) || s.currentInstance().Restarts != now.Restarts):
		return 0
	case err != nil:
		return s.noteFailure(ctx, now, err)
	}

	if !now.Running {
		if err := s.checkComplete(ctx, false, open); err != nil {
			return s.noteFailure(ctx, now, err)
		}
	}

	s.mu.Lock()
	s.read = began
	if !now.Running {
		s.finished = now
	}

	s.mu.Unlock()
	if !follow {
		s.failures = 0
		return pollEvery
	}

	// The container has ended, which the API will say in a moment, or
	// something between here and there has ended the stream in good order.
	s.suspect = true
	return s.nextRetry()
}

func (s *logSource) setLive(live bool, idle context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live, s.idle = live, idle
}

func (s *logSource) currentInstance() kube.Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// confirmInstance is told of the first line of a stream; false where the container has
// restarted since it was opened.
func (s *logSource) confirmInstance() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle == nil {
		return true
	}
	s.idle = nil
	return s.now.Restarts == s.restarts
}

// nextRetry is the pause after one more failure.
func (s *logSource) nextRetry() time.Duration {
	s.failures++
	return min(firstRetry<<min(s.failures-1, 10), lastRetry)
}

// notedFailure is after how many failures in a row the user is told.
const notedFailure = 4

// noteFailure takes note of a log that could not be read, or not to its end.
func (s *logSource) noteFailure(ctx context.Context, now kube.Instance, err error) time.Duration {
	if ctx.Err() != nil {
		return 0
	}

	wait := s.nextRetry()
	switch {
	case errors.Is(err, kube.ErrNoPod):
		// The watch will say so.
		return wait
	case errors.Is(err, kube.ErrNoLog):
		// One that has ended has none any more; one that runs is a moment old.
		if !now.Running && s.failures >= notedFailure {
			s.f.note("%s/%s: %v", s.pod, s.container, err)
			s.mu.Lock()
			s.finished = now
			s.mu.Unlock()
		}
		return wait
	}

	s.suspect = true
	if s.failures == notedFailure {
		s.f.note("%s/%s: %v; trying again", s.pod, s.container, err)
	}

	return wait
}

// readPrevious reads the end of the instance before the present one, where it
// may not have been read.
func (s *logSource) readPrevious(ctx context.Context, now kube.Instance) error {
	restarted := now.Restarts != s.restarts
	if !restarted && (!s.suspect || s.at.isEmpty()) {
		return nil
	}

	_, open, err := s.readStream(ctx, kube.LogRequest{Previous: true}, nil)
	if err == nil {
		err = s.checkComplete(ctx, true, open)
	}
	if err != nil && !errors.Is(err, kube.ErrNoLog) {
		return err
	}

	// The API has two instances at most, and while a container waits for its
	// restart they are the same one.
	missed := now.Restarts - s.restarts - 2
	if !now.Running {
		missed++
	}
	if restarted && missed > 0 {
		s.f.note("%s/%s restarted %d times in a row; what it logged in between is lost", s.pod, s.container, now.Restarts-s.restarts)
	}

	s.restarts, s.suspect = now.Restarts, false
	return nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
