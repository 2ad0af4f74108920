package resumable

import "time"

const (
	initialWindow = 256 << 10
	minWindow     = 128 << 10
	slowWindow    = 80 << 10 // on a path whose round trip is measured well: two pieces of bulk data
	probeFloor    = 32 << 10

	// baseSpan is how long the lowest round trip counts as the path's own.
	baseSpan = 10 * time.Second
	// probeAfter is how old it may become until the queue is drained to measure it anew.
	probeAfter = 7 * time.Second
	// minRound is how long a round takes at least, so that a hiccup of the scheduler is not
	// taken for a queue.
	minRound = 5 * time.Millisecond
	// hiccup is what busy processors add to a round trip. Where the path's own is shorter, a longer
	// one does not show a queue: a trial does.
	hiccup = 10 * time.Millisecond
	// startupSamples is how many samples a round must have until they can end the startup.
	startupSamples = 4
	// idleAfter is how long no bulk data may wait until what was learned of the path is too old.
	idleAfter = 10 * time.Second
)

// path measures the path below one link and decides how many bytes of bulk data it takes: the
// congestion window. It works in rounds of one round trip. In each it compares the round trips of late
// (their lowest; their average while bulk data is alone) with the lowest of the last seconds, its base;
// the difference is the time that bytes stand in queues. While that is below the target, the window
// grows; above it, it shrinks.
type path struct {
	ceiling  int64
	window   int64
	startup  bool // the window doubles each round
	base     recentMinimum
	standing recentMinimum
	smoothed time.Duration // average round trip
	lastBase time.Duration // lowest round trip at the last round's end
	rate     float64       // bytes a nanosecond that were acknowledged during the last round trip
	times    sendTimes
	smallAt  time.Duration // when small data last came
	isShared bool          // the window is one for bulk data that shares the path
	// otherWindow is the window that did when the path was last shared, or was not; 0 if none is
	// known.
	otherWindow int64
	acked       uint64 // position up to which bytes are acknowledged
	trial       trial

	round struct {
		began      time.Duration
		end        uint64 // the round is over when this position is acknowledged
		goal       int64  // what the window grows to
		samples    int
		wasLimited bool // bulk data waited for the window
		isIdle     bool // no bulk data waited in the round before: it began too early
		skip       bool // its samples are of another window: they decide nothing
		settling   bool // it is the first of a trial's step, which begins after it
	}
	limitedAt  time.Duration // when bulk data last waited
	nearBaseAt time.Duration // when a round trip was last near the base

	probe struct {
		window int64  // 0: not probing
		end    uint64 // the probe is over when this position is acknowledged; 0: not drained yet
	}
}

func newPath(ceiling int64, now time.Duration) *path {
	p := &path{ceiling: max(ceiling, minWindow)}
	p.restart(now)

	return p
}

// setCeiling changes what the window may grow to.
func (p *path) setCeiling(ceiling int64) {
	p.ceiling = max(ceiling, minWindow)
	p.window, p.round.goal = min(p.window, p.ceiling), min(p.round.goal, p.ceiling)
}

// restart forgets the window, but not the round trips.
func (p *path) restart(now time.Duration) {
	p.window = min(initialWindow, p.ceiling)
	p.startup, p.trial.kind = true, noTrial
	p.limitedAt, p.nearBaseAt = now, now
	p.otherWindow, p.probe.window = 0, 0
	p.beginRound(now, 0)
	p.round.isIdle = true
}

// limit returns how many bytes of bulk data may be kept.
func (p *path) limit() int64 {
	if p.probe.window > 0 {
		return min(p.probe.window, p.window)
	}
	return p.window
}

// roundTrip returns the lowest round trip of late, 0 if none is known.
func (p *path) roundTrip(now time.Duration) time.Duration {
	return p.base.get(now, baseSpan)
}

// noteLimited notes that bulk data has to wait for the window. sent is the position up to which
// bytes were sent.
func (p *path) noteLimited(now time.Duration, sent uint64) {
	if now-p.limitedAt > idleAfter {
		p.restart(now)
	}
	if p.round.isIdle {
		p.beginRound(now, sent)
		if p.startup {
			p.round.goal = min(2*p.window, p.ceiling)
		}
	}
	p.limitedAt, p.round.wasLimited = now, true
}

// noteAck takes an acknowledgement of n more bytes, those before position, whose last came delay
// before it was sent. sent is the position up to which bytes were sent, and kept is how many are
// not acknowledged.
func (p *path) noteAck(position uint64, n int64, delay, now time.Duration, sent uint64, kept int64) {
	p.acked = position
	p.updateShared(now)
	if batch, ok := p.times.take(position); ok {
		p.addSample(now-batch.at-delay, now)
		p.rate = float64(position-batch.acked) / float64(max(now-batch.at, 1))
	}

	if p.startup && p.round.samples >= startupSamples {
		p.endStartup(now)
	}
	if p.window < p.round.goal && p.round.wasLimited {
		p.window = min(p.window+n, p.round.goal)
	}
	p.endProbe(position, sent, kept, now)

	if position >= p.round.end && now-p.round.began >= minRound && p.round.samples > 0 {
		p.endRound(now, sent)
	}
}

// addSample takes one measured round trip.
func (p *path) addSample(rtt, now time.Duration) {
	if rtt <= 0 {
		return
	}

	p.round.samples++
	if p.smoothed == 0 {
		p.smoothed = rtt
	}
	p.smoothed += (rtt - p.smoothed) / 8
	p.base.add(now, baseSpan, rtt)
	if base := p.roundTrip(now); rtt <= base+p.target(base)/4 {
		p.nearBaseAt = now
	}
	p.standing.add(now, p.standingSpan(), rtt)
}

// standingSpan is how long samples count for the round trip of late.
func (p *path) standingSpan() time.Duration { return max(p.smoothed/2, minRound) }

// beginRound begins a round that ends when all that was sent is acknowledged.
func (p *path) beginRound(now time.Duration, sent uint64) {
	p.round.began, p.round.end = now, sent
	p.round.samples, p.round.wasLimited = 0, false
	p.round.isIdle, p.round.skip, p.round.settling, p.round.goal = false, false, false, p.window
}

// endRound decides about the window of the next round.
func (p *path) endRound(now time.Duration, sent uint64) {
	base, standing := p.roundTrip(now), p.standing.get(now, p.standingSpan())
	if !p.isShared {
		standing = max(standing, p.smoothed) // a queue that comes and goes is one, too
	}
	ended := p.round
	p.lastBase = base
	p.beginRound(now, sent)
	if !ended.wasLimited {
		p.round.isIdle = true
		p.abandon()
		return
	}
	if p.probe.window > 0 {
		p.abandon()
		return
	}

	target, queue := p.target(base), standing-base
	switch {
	case ended.skip:
		return
	case ended.settling:
		p.trial.begin(p.trial.kind, now, p.acked)
	case p.isPinned(now):
		p.setWindow(minWindow)
		p.startup = false
	case p.startup:
		p.round.goal = min(2*p.window, p.ceiling)
	case base < hiccup && (queue > target || p.trial.isUnderWay()) && (p.isShared || p.window <= triedAlone):
		p.steer(now)
	default:
		p.trial.kind = noTrial
		p.approach(target, queue, standing)
	}

	if now-p.nearBaseAt > probeAfter {
		p.probe.window = max(int64(p.rate*float64(base)/2), probeFloor)
		p.probe.end = 0
	}
}

// endStartup ends the startup when a queue begins to stand. The window is then more than the path
// takes, and what it does take has just been measured.
func (p *path) endStartup(now time.Duration) {
	base, standing := p.roundTrip(now), p.standing.get(now, p.standingSpan())
	target := p.target(base)
	if standing-base < max(target/2, minTarget) {
		return
	}

	p.startup, p.round.skip, p.trial.kind = false, true, noTrial
	p.setWindow(min(max(int64(p.rate*float64(base+target)), p.window/4), p.window))
}

// approach moves the window half the way to where the queue would be as long as target; faster if
// there is none, because then nobody knows how far the way is.
func (p *path) approach(target, queue, standing time.Duration) {
	change := max(float64(target-queue)/float64(standing)/2, -0.5)
	if queue <= target/8 {
		change = max(change, 0.25)
	}

	next := int64(float64(p.window) * (1 + change))
	if change > 0 {
		p.round.goal = min(next, p.ceiling)
		return
	}
	p.setWindow(next)
}

func (p *path) setWindow(window int64) {
	least := int64(minWindow)
	if p.lastBase >= hiccup {
		least = slowWindow
	}
	p.window = min(max(window, least), p.ceiling)
	p.round.goal = p.window
}

// endProbe ends a probe a round trip after what is kept has shrunk to the probe's window. Then the
// window grows to where it was, by what is acknowledged, so that no burst makes a queue.
func (p *path) endProbe(position, sent uint64, kept int64, now time.Duration) {
	switch {
	case p.probe.window == 0:
	case p.probe.end == 0:
		if kept <= p.probe.window {
			p.probe.end = sent
		}
	case position >= p.probe.end:
		before := p.window
		p.window, p.probe.window = min(p.probe.window, before), 0
		p.beginRound(now, sent)
		p.round.goal, p.round.skip, p.round.wasLimited = before, true, true
		p.nearBaseAt = now
	}
}
