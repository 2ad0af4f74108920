package redir

import (
	"context"
	"sync"
	"time"

	"kdiag/applets/internal/laptop/redirectclient"
)

// printer prints events. Missed says how many events of connections it was not given.
type printer interface {
	redirectclient.Observer
	Missed(pod redirectclient.Pod, count int)
	StillAway(stillAway)
	Blinked(blinked)
	PodGone(podGone)
	PodTaken(podTaken)
	PodFailed(podFailed)
}

// eventQueue is an Observer that never blocks: a goroutine of its own hands the events to a
// printer, which may be stuck on its output (Ctrl-S, a full pipe). Meanwhile events of connections
// are left out once there are too many. All others are kept, in their order.
type eventQueue struct {
	printer printer
	now     func() time.Time

	mu      sync.Mutex
	waiting []queuedEvent
	pod     redirectclient.Pod // of the last event
	missed  int                // since the last one that is waiting
	printed int
	idle    chan struct{} // closed when all is printed; nil if nothing waits

	current queuedEvent // the event that is being printed; the printing goroutine's own
}

// queuedEvent is an event that waits for its turn.
type queuedEvent struct {
	time time.Time
	pod  redirectclient.Pod
	show func()
}

const (
	// maxWaitingConnections limits how many events wait until those of connections are left
	// out.
	maxWaitingConnections = 1000
	// maxWaiting is the same for what a manager may say as often as it likes: problems, and new
	// addresses of a name.
	maxWaiting = 2000
	// unlimited is for what happens once in a redirect's or a session's life.
	unlimited = int(^uint(0) >> 1)
)

// put adds an event, unless limit are waiting.
func (q *eventQueue) put(pod redirectclient.Pod, limit int, show func()) {
	q.mu.Lock()
	defer q.mu.Unlock()

	q.pod = pod
	if len(q.waiting) >= limit {
		q.missed++
		return
	}

	q.putMissed()
	q.waiting = append(q.waiting, queuedEvent{q.now(), pod, show})
	if q.idle == nil {
		q.idle = make(chan struct{})
		go q.printAll(q.idle)
	}
}

// putMissed says in its place how many are missing. The caller holds mu.
func (q *eventQueue) putMissed() {
	if q.missed > 0 {
		pod, missed := q.pod, q.missed
		q.missed = 0
		q.waiting = append(q.waiting, queuedEvent{q.now(), pod, func() { q.printer.Missed(pod, missed) }})
	}
}

// printAll prints until nothing is left.
func (q *eventQueue) printAll(idle chan struct{}) {
	for {
		event, ok := q.next()
		if !ok {
			close(idle)
			return
		}

		q.current = event
		event.show()
	}
}

// next takes the next event off the queue.
func (q *eventQueue) next() (event queuedEvent, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()

	q.printed++
	if len(q.waiting) == 0 {
		q.putMissed()
	}
	if len(q.waiting) == 0 {
		q.waiting, q.idle = nil, nil
		return queuedEvent{}, false
	}

	event = q.waiting[0]
	q.waiting[0] = queuedEvent{}
	q.waiting = q.waiting[1:]
	return event, true
}

// printedTime returns when the event happened that is being printed.
func (q *eventQueue) printedTime() time.Time { return q.current.time }

// printedPod returns whose event is being printed.
func (q *eventQueue) printedPod() redirectclient.Pod { return q.current.pod }

// stuckTime is how long the output may take nothing, after Ctrl-C, until it counts as stuck.
const stuckTime = 2 * time.Second

// finish waits until everything is printed and end has returned. Once ctx has ended it gives up on
// an output that has been stuck for some time.
func (q *eventQueue) finish(ctx context.Context, stuck time.Duration, end func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if idle, _ := q.progress(); idle != nil {
			<-idle
		}
		end()
	}()

	select {
	case <-done:
		return
	case <-ctx.Done():
	}

	tick := time.NewTicker(stuck)
	defer tick.Stop()
	for {
		_, before := q.progress()
		select {
		case <-done:
			return
		case <-tick.C:
		}
		if _, now := q.progress(); now == before {
			return
		}
	}
}

// progress returns what tells of the end of printing, nil if there is none, and how many events
// were printed.
func (q *eventQueue) progress() (idle <-chan struct{}, printed int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.idle, q.printed
}

func (q *eventQueue) PodChosen(e redirectclient.PodChosen) {
	q.put(e.Pod, unlimited, func() { q.printer.PodChosen(e) })
}

func (q *eventQueue) RedirectStarted(e redirectclient.RedirectStarted) {
	q.put(e.Pod, unlimited, func() { q.printer.RedirectStarted(e) })
}

func (q *eventQueue) RedirectMoved(e redirectclient.RedirectMoved) {
	q.put(e.Pod, maxWaiting, func() { q.printer.RedirectMoved(e) })
}

func (q *eventQueue) ProbesCounted(e redirectclient.ProbesCounted) {
	q.put(e.Pod, maxWaiting, func() { q.printer.ProbesCounted(e) })
}

func (q *eventQueue) ConnectionOpened(e redirectclient.Connection) {
	q.put(e.Pod, maxWaitingConnections, func() { q.printer.ConnectionOpened(e) })
}

func (q *eventQueue) ConnectionRefused(e redirectclient.ConnectionRefused) {
	q.put(e.Pod, maxWaitingConnections, func() { q.printer.ConnectionRefused(e) })
}

func (q *eventQueue) ConnectionClosed(e redirectclient.ConnectionClosed) {
	q.put(e.Pod, maxWaitingConnections, func() { q.printer.ConnectionClosed(e) })
}

func (q *eventQueue) ConnectionsReset(e redirectclient.ConnectionsReset) {
	q.put(e.Pod, maxWaiting, func() { q.printer.ConnectionsReset(e) })
}

func (q *eventQueue) Paused(e redirectclient.Paused) {
	q.put(e.Pod, maxWaiting, func() { q.printer.Paused(e) })
}

func (q *eventQueue) Problem(e redirectclient.Problem) {
	q.put(e.Pod, maxWaiting, func() { q.printer.Problem(e) })
}

func (q *eventQueue) DrainStarted(e redirectclient.DrainStarted) {
	q.put(e.Pod, unlimited, func() { q.printer.DrainStarted(e) })
}

func (q *eventQueue) Disconnected(e redirectclient.Disconnected) {
	q.put(e.Pod, maxWaiting, func() { q.printer.Disconnected(e) })
}

func (q *eventQueue) Reconnected(e redirectclient.Reconnected) {
	q.put(e.Pod, maxWaiting, func() { q.printer.Reconnected(e) })
}

func (q *eventQueue) StillAway(e stillAway) {
	q.put(e.pod, maxWaiting, func() { q.printer.StillAway(e) })
}

func (q *eventQueue) Blinked(e blinked) {
	q.put(e.pod, maxWaiting, func() { q.printer.Blinked(e) })
}

func (q *eventQueue) SessionLost(e redirectclient.SessionLost) {
	q.put(e.Pod, unlimited, func() { q.printer.SessionLost(e) })
}

func (q *eventQueue) Finished(e redirectclient.Summary) {
	q.put(e.Pod, unlimited, func() { q.printer.Finished(e) })
}
