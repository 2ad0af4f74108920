package resumable

import (
	"fmt"
	"time"
)

// SilentError reports a connection on which nothing came from the peer for too long.
type SilentError struct{ For time.Duration }

func (e *SilentError) Error() string { return fmt.Sprintf("nothing came from the peer for %v", e.For) }

// silentTicks is how many looks in a row must find a connection silent until it is lost.
const silentTicks = 8

// watch is what the timers of a link need. A stopped process, a suspended machine and a stepped
// clock do not count as silence: looks are counted, not the time between them.
type watch struct {
	heartbeat *time.Timer
	look      *time.Timer
	silent    int           // looks in a row that found somebody reading, and nothing new
	heard     time.Duration // link.heard at the last look
}

// startTimers starts to send heartbeats and to watch for silence. The caller holds mu.
func (c *link) startTimers() {
	options := &c.stream.options
	c.watch.heard = time.Duration(c.heard.Load())
	c.watch.heartbeat = time.AfterFunc(options.Heartbeat, c.beat)
	c.watch.look = time.AfterFunc(options.Dead/silentTicks, c.lookForSilence)
}

// stopTimers ends all timers. The caller holds mu.
func (c *link) stopTimers() {
	c.watch.heartbeat.Stop()
	c.watch.look.Stop()
	if c.ackTimer != nil {
		c.ackTimer.Stop()
	}
}

// beat makes an acknowledgement due if none was sent for a heartbeat's time.
func (c *link) beat() {
	s := c.stream
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.link != c {
		return
	}

	next := c.ackedAt + s.options.Heartbeat - s.now()
	if next <= 0 {
		c.ackDue = true
		c.work.Signal()
		next = s.options.Heartbeat
	}
	c.watch.heartbeat.Reset(next)
}

// lookForSilence loses the connection if nothing came for too long although somebody read.
func (c *link) lookForSilence() {
	s := c.stream
	s.mu.Lock()
	isCurrent := s.link == c
	if isCurrent {
		c.countSilence()
		c.watch.look.Reset(s.options.Dead / silentTicks)
		s.gate.expire(s)
	}
	isSilent := c.watch.silent >= silentTicks
	s.mu.Unlock()

	if isCurrent && isSilent {
		s.loseLink(c, &SilentError{s.options.Dead})
	}
}

// countSilence counts the look that it is called for. The caller holds mu.
func (c *link) countSilence() {
	heard := time.Duration(c.heard.Load())
	if heard != c.watch.heard || !c.inRead.Load() {
		c.watch.heard, c.watch.silent = heard, 0
		return
	}
	c.watch.silent++
}
