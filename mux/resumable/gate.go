package resumable

import (
	"container/list"
	"time"
)

// grantLife is how long a grant counts whose bytes are not written.
const grantLife = time.Second

// gate lets writers of data wait for their turn.
type gate struct {
	small, bulk list.List // of *waiter, the longest waiting first
	granted     int64     // bytes that were granted and not yet written
	grantedAt   time.Duration
	overrun     int // calls of Write that wait for room
	bulkFlows   flowCount
}

// waiter waits to send n bytes of a flow. ready is closed when it may, or when err says why it never will.
type waiter struct {
	n     int64
	flow  *Flow
	ready chan struct{}
	err   error
}

func (g *gate) init() {
	g.small.Init()
	g.bulk.Init()
}

// WaitToSend waits until n bytes of data may be written: small ones as long as the buffer has room,
// bulk as long as the path has. Within each class the first to come is the first to go. After nil
// the caller writes n bytes, or gives the grant back. WaitToSend returns ErrStopped when stop
// closes, and the cause after Close or Fail. A flow waits for one thing at a time.
func (s *Stream) WaitToSend(n int, flow *Flow, stop <-chan struct{}) error {
	select {
	case <-stop:
		return ErrStopped
	default:
	}

	s.mu.Lock()
	if s.err != nil {
		defer s.mu.Unlock()
		return s.err
	}

	g, queue, limit := &s.gate, &s.gate.small, s.options.Buffer
	bulk := flow.isBulk(int64(n), g.bulkFlows.progress, s.now())
	if bulk {
		queue, limit = &g.bulk, s.bulkWindow()
	} else if s.link != nil && flow.isCalm(s.now()) {
		s.link.path.noteSmall(s.now())
	}
	if queue.Len() == 0 && g.admit(s, int64(n), limit) {
		defer s.mu.Unlock()
		g.noteSent(flow, int64(n), s.now())
		return nil
	}

	if bulk {
		g.noteLimited(s)
	}
	w := &waiter{n: int64(n), flow: flow, ready: make(chan struct{})}
	element := queue.PushBack(w)
	s.mu.Unlock()

	select {
	case <-w.ready:
		return w.err
	case <-stop:
		return s.stopWaiting(queue, element, w)
	}
}

// stopWaiting takes w out of its queue, or gives back what it was granted meanwhile.
func (s *Stream) stopWaiting(queue *list.List, element *list.Element, w *waiter) error {
	s.mu.Lock()
	defer s.mu.Unlock()

	select {
	case <-w.ready:
		if w.err != nil {
			return w.err
		}
		s.gate.useGrant(w.n)
	default:
		queue.Remove(element)
	}
	s.gate.dispatch(s)

	return ErrStopped
}

// GiveBack returns n bytes of a grant of WaitToSend that will not be written.
func (s *Stream) GiveBack(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.gate.useGrant(int64(n))
	s.gate.dispatch(s)
}

// useGrant takes n bytes off what is granted.
func (g *gate) useGrant(n int64) { g.granted = max(g.granted-n, 0) }

// dispatch lets those go for whom there is room now: small ones before bulk. The caller holds the
// stream's lock.
func (g *gate) dispatch(s *Stream) {
	if g.small.Len() > 0 {
		g.dispatchQueue(s, &g.small, s.options.Buffer)
	}
	if g.bulk.Len() > 0 {
		g.dispatchQueue(s, &g.bulk, s.bulkWindow())
		g.noteLimited(s)
	}
}

// dispatchQueue lets the first of queue go as long as limit allows.
func (g *gate) dispatchQueue(s *Stream, queue *list.List, limit int64) {
	for queue.Len() > 0 {
		w := queue.Front().Value.(*waiter)
		if !g.admit(s, w.n, limit) {
			return
		}

		queue.Remove(queue.Front())
		g.noteSent(w.flow, w.n, s.now())
		close(w.ready)
	}
}

// noteSent notes that a flow was granted n bytes.
func (g *gate) noteSent(f *Flow, n int64, now time.Duration) {
	f.last = now
	if f.bulk {
		g.bulkFlows.add(f, n, g.bulk.Len()+1, now)
	}
}

// admit grants n bytes if that keeps what is in use within limit. When nothing is in use, it grants
// any number.
func (g *gate) admit(s *Stream, n, limit int64) bool {
	used := s.kept.size() + g.granted
	if used > 0 && used+n > limit {
		return false
	}

	g.granted += n
	g.grantedAt = s.now()

	return true
}

// noteLimited tells the path that bulk data waits for it, if so.
func (g *gate) noteLimited(s *Stream) {
	if s.link != nil {
		s.link.path.noteLimited(s.now(), s.link.sent)
	}
}

// expire forgets grants whose bytes have not been written for long, so that a caller that broke its
// promise stops nobody. The caller holds the stream's lock.
func (g *gate) expire(s *Stream) {
	if g.granted > 0 && s.now()-g.grantedAt > grantLife {
		g.granted = 0
		g.dispatch(s)
	}
}

// fail lets everybody go with an error.
func (g *gate) fail(err error) {
	for _, queue := range []*list.List{&g.small, &g.bulk} {
		for ; queue.Len() > 0; queue.Remove(queue.Front()) {
			w := queue.Front().Value.(*waiter)
			w.err = err
			close(w.ready)
		}
	}
}

// bulkWindow returns how many bytes may be kept while bulk data goes on. The caller holds mu.
func (s *Stream) bulkWindow() int64 {
	if s.link == nil {
		return initialWindow
	}
	return s.link.path.limit()
}
