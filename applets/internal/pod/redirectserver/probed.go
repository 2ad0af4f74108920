package redirectserver

import (
	"sync"
	"time"

	"kdiag/applets/internal/pod/healthprobe"
	"kdiag/mux/wire"
)

// probedEvery is the least time from one report of probes to the next.
const probedEvery = 10 * time.Second

// A probeCount counts a redirect's probes, and reports them to the laptop now and then.
type probeCount struct {
	report func(wire.Probed) // does not wait for the link

	mu      sync.Mutex
	counts  wire.Probed
	told    wire.Probed
	timer   *time.Timer // until the next report
	stopped bool
}

func newProbeCount(redirect uint32, report func(wire.Probed)) *probeCount {
	return &probeCount{report: report, counts: wire.Probed{ID: redirect}}
}

// note counts one. The first is reported at once.
func (p *probeCount) note(verdict healthprobe.Verdict) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if verdict == healthprobe.Ambiguous {
		p.counts.Ambiguous++
	} else {
		p.counts.Recognized++
	}

	if p.timer == nil && !p.stopped {
		p.startReport()
	}
}

// startReport reports what was counted. mu is held.
func (p *probeCount) startReport() {
	p.told = p.counts
	p.report(p.counts)
	p.timer = time.AfterFunc(probedEvery, p.reportAgain)
}

// reportAgain reports if there is something new.
func (p *probeCount) reportAgain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = nil
	if !p.stopped && p.counts != p.told {
		p.startReport()
	}
}

// stop ends the reports and returns what was counted.
func (p *probeCount) stop() wire.Probed {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	if p.timer != nil {
		p.timer.Stop()
	}
	return p.counts
}
