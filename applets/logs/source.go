package logs

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"kdiag/kube"
	"kdiag/mux/wire"

	"k8s.io/apimachinery/pkg/types"
)

// logSource reads the log of one container, through all its instances. Its position
// alone makes sure that each line is passed on once, whatever stream the kubelet
// returns: of any instance and from any point.
type logSource struct {
	f               *follower
	namespace, pod  string
	uid             types.UID
	container, node string
	// initial is set if the container was there at the start, so that what it had
	// logged by then is old.
	initial bool

	// running is set while the source has a goroutine. The follower owns it.
	running bool

	// The fields up to cut belong to that goroutine.
	asked bool // the beginning was looked for, or read, at the start
	at    position
	// oldUntil is the time of the last line that was there at the start, in
	// nanoseconds, until it is read. oldConfirmed is set once it is known to come.
	oldUntil     int64
	oldConfirmed bool
	// beginning is set while lines are read that were there at the start.
	beginning bool
	// startKnown is set once findStart has succeeded.
	startKnown bool
	// restarts is the restart count of the instance up to which everything was
	// read.
	restarts int
	// suspect is set after a stream broke off: an instance may have ended
	// meanwhile.
	suspect bool
	// nextInstance is set while nothing has been read of an instance, but all of the
	// one before.
	nextInstance bool
	// far is set if more lines than nearLines were logged since the position.
	far      bool
	farAgain int // streams in a row that ended for that
	// hidden is set if lines behind the position have times so old that the log must
	// be read from its beginning.
	hidden   bool
	failures int
	pace     linePace
	cut      bool // a line too long was noted

	// lastSeen is the time of the last whole line in the present stream, in
	// nanoseconds, whether it was new or not; arrived counts the bytes of all streams.
	lastSeen, arrived atomic.Int64
	// searching is set while lines came that are older than the position, but not yet
	// the position.
	searching atomic.Bool
	// silent has the time of the log's last line if the stream was cancelled because
	// it did not bring that line.
	silent atomic.Int64

	mu       sync.Mutex
	now      kube.Instance
	gone     bool
	finished kube.Instance // read to its end, with nothing to come
	live     bool          // a following stream is open
	// idle cancels the stream of the current instance, and is nil once the stream
	// has sent a line. The kubelet knows of a restart before the API does, so a
	// stream may belong to the next instance while the previous one was not read
	// to its end.
	idle    context.CancelFunc
	read    time.Time     // when the last read began that reached the log's end
	changed chan struct{} // has one value after a change of now or gone
}

// setInstance records the container's current instance.
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

// awaitLog waits until there is something to read. It returns false if nothing more
// will come.
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

// hasUnread reports whether the current instance has, or may get, more to read.
func (s *logSource) hasUnread() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	same := s.now.ID == s.finished.ID && s.now.Restarts == s.finished.Restarts
	return !s.gone && s.now.ID != "" && !same
}

// isBehind reports whether there may be unread lines that were logged before a time.
func (s *logSource) isBehind(when time.Time) bool {
	s.mu.Lock()
	live, read := s.live, s.read
	s.mu.Unlock()
	return s.hasUnread() && !live && read.Before(when)
}

// waitForChange waits for a change of the container, or for a time.
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
	// pollEvery is the pause between two reads of a log that cannot be followed
	// because too many others are open.
	pollEvery = time.Second
	// firstRetry and lastRetry are the shortest and the longest pause after a
	// broken stream. The pause doubles each time.
	firstRetry = 100 * time.Millisecond
	lastRetry  = 3 * time.Second
)

// readOrFollow opens the log once and reads it to its end, or follows it. It returns
// how long to wait before the next time.
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
	follow := now.Running && !wire.IsClosed(yield)
	if !follow {
		yield = nil
	}

	// The stream can be cancelled by itself, for an instance that has ended.
	began := time.Now()
	streaming, cancel := context.WithCancel(ctx)
	defer cancel()
	s.setLive(follow, cancel)
	if follow {
		s.f.running.Go(func() { s.watchSilence(streaming, cancel) })
	}
	lines, open, err := s.readStream(streaming, kube.LogRequest{Follow: follow}, yield)
	s.setLive(false, nil)

	if lines > 0 {
		s.failures = 0
	}

	silent := s.silent.Swap(0)
	switch {
	case errors.Is(err, errFar):
		return s.pauseIfRepeated()
	case err != nil && silent != 0:
		s.reopenSilent(silent)
		return 0
	case err != nil && ctx.Err() == nil && (follow && wire.IsClosed(yield) || s.currentInstance().Restarts != now.Restarts):
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

	// Either the container has ended, as the API will report in a moment, or
	// something on the way has closed the stream.
	s.suspect = true
	return s.nextRetry()
}

// pauseIfRepeated returns how long to wait before a log is opened in another way: not at
// all, unless the other way was no better.
func (s *logSource) pauseIfRepeated() time.Duration {
	if s.farAgain++; s.farAgain <= 2 {
		return 0
	}
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

// confirmInstance looks at the first line of a stream. It returns false if the
// container has restarted since the stream was opened.
func (s *logSource) confirmInstance() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle == nil {
		return true
	}
	s.idle = nil
	return s.now.Restarts == s.restarts
}

// nextRetry counts a failure and returns the pause after it.
func (s *logSource) nextRetry() time.Duration {
	s.failures++
	return min(firstRetry<<min(s.failures-1, 10), lastRetry)
}

// notedFailure is the number of failures in a row after which the user is told.
const notedFailure = 4

// noteFailure handles a log that could not be read to its end. It returns how long
// to wait before the next time.
func (s *logSource) noteFailure(ctx context.Context, now kube.Instance, err error) time.Duration {
	if ctx.Err() != nil {
		return 0
	}

	wait := s.nextRetry()
	switch {
	case errors.Is(err, kube.ErrNoPod):
		// The watch will report it.
		return wait
	case errors.Is(err, kube.ErrNoLog):
		// The log of an ended container is gone; that of a new one comes soon.
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
		s.f.note("%s/%s: %v; retrying", s.pod, s.container, err)
	}

	return wait
}

// readPrevious reads the end of the previous instance, if it may be unread.
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

	// The API keeps two instances at most, and they are the same one while a
	// container waits for its restart.
	missed := now.Restarts - s.restarts - 2
	if !now.Running {
		missed++
	}
	if restarted && missed > 0 {
		s.f.note("%s/%s restarted %d times in a row; some of its logs are lost", s.pod, s.container, now.Restarts-s.restarts)
	}

	s.restarts, s.suspect, s.nextInstance = now.Restarts, false, restarted
	return nil
}
