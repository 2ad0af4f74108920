package redir

import (
	"sync"
	"time"

	"kdiag/applets/internal/laptop/redirectclient"
)

// stillAway says again that there is no connection to a pod.
type stillAway struct {
	pod   redirectclient.Pod
	after time.Duration
	err   error
}

// blinked says in sum what was not told one by one: how often the connection to a pod was lost for
// a moment within some time, and for how long in all.
type blinked struct {
	pod          redirectclient.Pod
	times        int
	within, away time.Duration
	err          error // of the last time
}

// calmObserver is told by a calm what happens.
type calmObserver interface {
	redirectclient.Observer
	StillAway(stillAway)
	Blinked(blinked)
}

const (
	// maxBlinks is how many losses are told one by one in calmTime. The others are told in sum,
	// unless one lasts for longAway or costs connections.
	maxBlinks = 3
	calmTime  = time.Minute
	longAway  = 5 * time.Second
	// firstStill is how long nothing is said of a connection that stays away. Then it is said
	// again, less and less often.
	firstStill = 30 * time.Second
	maxStill   = 5 * time.Minute
)

// calm is an Observer for people: a connection that comes and goes does not flood them, and one
// that stays away is not forgotten.
type calm struct {
	calmObserver
	readAway  func() *redirectclient.Away
	tellStill bool

	mu     sync.Mutex // held while the observer is told, so that it hears things in their order
	told   []time.Time
	lost   *redirectclient.Disconnected // that is not told
	sum    blinked
	sumDue *time.Timer
	due    *time.Timer // for a loss that lasts
	outage int         // counts them, so that a timer that is late knows
}

// newCalm makes a calm before an observer. readAway says how things are; tellStill is for where
// nothing else shows it.
func newCalm(o calmObserver, readAway func() *redirectclient.Away, tellStill bool) *calm {
	return &calm{calmObserver: o, readAway: readAway, tellStill: tellStill}
}

// Disconnected tells of a loss, or counts it.
func (c *calm) Disconnected(e redirectclient.Disconnected) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outage++
	for len(c.told) > 0 && time.Since(c.told[0]) >= calmTime {
		c.told = c.told[1:]
	}

	if len(c.told) < maxBlinks {
		c.tellLost(e)
		return
	}

	c.lost = &e
	c.afterOutage(longAway, func(*redirectclient.Away) {
		c.lost = nil
		c.tellLost(e)
	})
}

// tellLost tells of a loss, and that it lasts if it does. The caller holds mu.
func (c *calm) tellLost(e redirectclient.Disconnected) {
	c.told = append(c.told, time.Now())
	c.calmObserver.Disconnected(e)
	if c.tellStill {
		c.tellStillAfter(e.Pod, firstStill)
	}
}

// tellStillAfter tells again and again that there is no connection. The caller holds mu.
func (c *calm) tellStillAfter(pod redirectclient.Pod, wait time.Duration) {
	c.afterOutage(wait, func(away *redirectclient.Away) {
		if away != nil {
			c.StillAway(stillAway{pod, time.Since(away.Since), away.Cause})
		}
		c.tellStillAfter(pod, min(2*wait, maxStill))
	})
}

// afterOutage calls f after some time, if the outage still lasts by then. The caller holds mu, and
// so does f's.
func (c *calm) afterOutage(wait time.Duration, f func(away *redirectclient.Away)) {
	outage := c.outage
	c.due = time.AfterFunc(wait, func() {
		away := c.readAway() // without mu: whoever tells of a loss keeps readAway waiting
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.outage == outage {
			f(away)
		}
	})
}

// Reconnected tells of the end of a loss that was told of, or that cost connections.
func (c *calm) Reconnected(e redirectclient.Reconnected) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outage++
	c.stopTimer(c.due)

	lost := c.lost
	c.lost = nil
	switch {
	case lost == nil:
		c.calmObserver.Reconnected(e)
	case e.Cut > 0 || e.Renewed:
		c.calmObserver.Disconnected(*lost)
		c.calmObserver.Reconnected(e)
	default:
		c.addBlink(*lost, e)
	}
}

// addBlink counts a loss that is told in sum later. The caller holds mu.
func (c *calm) addBlink(lost redirectclient.Disconnected, back redirectclient.Reconnected) {
	if c.sum.times == 0 {
		c.sum.within = calmTime
		c.sumDue = time.AfterFunc(calmTime, c.tellSum)
	}
	c.sum.pod, c.sum.err = lost.Pod, lost.Err
	c.sum.times++
	c.sum.away += back.After
}

// tellSum tells what was counted, if anything was.
func (c *calm) tellSum() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopTimer(c.sumDue)
	if c.sum.times > 0 {
		c.Blinked(c.sum)
	}
	c.sum = blinked{}
}

// Finished tells what is left to tell.
func (c *calm) Finished(e redirectclient.Summary) {
	c.stop()
	c.tellSum()
	c.calmObserver.Finished(e)
}

// stop ends what a calm says by itself.
func (c *calm) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outage++
	c.stopTimer(c.due)
	c.stopTimer(c.sumDue)
}

func (c *calm) stopTimer(timer *time.Timer) {
	if timer != nil {
		timer.Stop()
	}
}
