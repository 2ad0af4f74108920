package resumable

import "time"

// A trial finds out whether a smaller window moves as much. Where round trips are longer than the
// path's lowest, bytes may stand in a queue; or they may just take longer, such as on a machine
// whose processors are busy. Then a smaller window moves less, and a larger one more.
type trial struct {
	kind   trialKind
	window int64   // the window that is compared with
	rate   float64 // what it moved, in bytes a nanosecond

	began  time.Duration
	from   uint64 // what was acknowledged when it began
	rounds int
}

type trialKind int

const (
	noTrial trialKind = iota
	// measureWindow measures the window as it is.
	measureWindow
	// trySmaller and tryLarger measure another one.
	trySmaller
	tryLarger
	// holdWindow keeps the window for a while after neither was better.
	holdWindow
)

const (
	// trialRounds is how many rounds a trial has, and holdRounds how many pass until the next.
	trialRounds = 4
	holdRounds  = 40

	smaller, larger = 0.7, 1.4
	// A smaller window must move nearly as much, a larger one clearly more: both thresholds lie
	// in the middle between no change and a change by as much as the window's. While small data
	// waits behind it, the smaller one is preferred.
	keepsRate, gainsRate             = 0.88, 1.18
	keepsRateShared, gainsRateShared = 0.8, 1.22
)

// thresholds returns the part of a window's rate that a smaller one must move, and a larger one.
func (p *path) thresholds() (keeps, gains float64) {
	if p.isShared {
		return keepsRateShared, gainsRateShared
	}
	return keepsRate, gainsRate
}

// isUnderWay reports whether a window is measured now.
func (t *trial) isUnderWay() bool { return t.kind != noTrial && t.kind != holdWindow }

// begin begins a step of the trial.
func (t *trial) begin(kind trialKind, now time.Duration, acked uint64) {
	t.kind, t.began, t.from, t.rounds = kind, now, acked, 0
}

// steer moves the window after a round in which the queue was longer than wanted or a trial was
// under way.
func (p *path) steer(now time.Duration) {
	t := &p.trial
	t.rounds++
	switch {
	case t.kind == noTrial:
		t.begin(measureWindow, now, p.acked)
		return
	case t.kind == holdWindow:
		if t.rounds >= holdRounds {
			t.kind = noTrial
		}
		return
	case t.rounds < trialRounds:
		return
	}

	keeps, gains := p.thresholds()
	rate := float64(p.acked-t.from) / float64(max(now-t.began, 1))
	switch {
	case t.kind == measureWindow, t.kind == trySmaller && rate >= keeps*t.rate:
		t.window, t.rate = p.window, rate
		p.tryWindow(trySmaller, smaller)
	case t.kind == trySmaller, t.kind == tryLarger && rate >= gains*t.rate:
		if t.kind == tryLarger {
			t.window, t.rate = p.window, rate
		}
		p.tryWindow(tryLarger, larger)
	default:
		p.setWindow(t.window)
		t.begin(holdWindow, now, p.acked)
	}
}

// tryWindow goes on with a window by a factor of the one that is compared with. The next round is
// still one of the last window's.
func (p *path) tryWindow(kind trialKind, factor float64) {
	p.setWindow(int64(float64(p.trial.window) * factor))
	p.trial.kind = kind
	p.round.settling = true
}

// abandon ends a trial whose measurements would mean nothing.
func (p *path) abandon() {
	if p.trial.kind == trySmaller || p.trial.kind == tryLarger {
		p.setWindow(p.trial.window)
	}
	p.trial.kind = noTrial
}
