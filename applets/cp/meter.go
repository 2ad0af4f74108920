package cp

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/units"
	"kdiag/mux/wire"
)

// meter counts what has been copied, and how fast.
type meter struct {
	mu     sync.Mutex
	done   int64
	totals wire.FilesTotals
	// marks are the counts of the last seconds, the oldest first.
	marks []mark
}

type mark struct {
	at   time.Time
	done int64
}

func (m *meter) add(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += bytes
}

func (m *meter) setTotals(totals wire.FilesTotals) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.totals = totals
}

// rateSpan is the time over which the rate is taken.
const rateSpan = 5 * time.Second

// describe says in one line how far the copy is at a time.
func (m *meter) describe(now time.Time) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.marks = append(m.marks, mark{now, m.done})
	for len(m.marks) > 2 && now.Sub(m.marks[0].at) > rateSpan {
		m.marks = m.marks[1:]
	}

	rate := 0.0
	if span := now.Sub(m.marks[0].at).Seconds(); span > 0 {
		rate = float64(m.done-m.marks[0].done) / span
	}
	total := m.totals.Bytes
	if total <= 0 || m.done > total {
		return fmt.Sprintf("%s  %s/s", units.Size(m.done), units.Size(int64(rate)))
	}

	text := fmt.Sprintf("%s %3d%%  %s of %s  %s/s", drawBar(m.done, total), 100*m.done/total, units.Size(m.done), units.Size(total), units.Size(int64(rate)))
	if rate > 0 {
		text += "  " + units.Span(float64((total-m.done)/int64(max(rate, 1)))) + " left"
	}
	return text
}

// drawBar draws how much of the total is done.
func drawBar(done, total int64) string {
	const width = 16
	full := int(float64(done) / float64(total) * width)
	return "[" + strings.Repeat("#", full) + strings.Repeat(" ", width-full) + "]"
}

// showsProgress reports whether anybody sees the progress.
func (t *transfer) showsProgress() bool { return !t.quiet && applets.IsTerminal(t.streams.Err) }

// showProgress shows how far the copy is until it is told to stop.
func (t *transfer) showProgress() (stop func()) {
	if !t.showsProgress() {
		return func() {}
	}

	const every = 200 * time.Millisecond
	tick := time.NewTicker(every)
	stopped, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stopped:
				t.line.Clear()
				return
			case now := <-tick.C:
				t.line.Show(t.meter.describe(now))
			}
		}
	}()
	return func() {
		tick.Stop()
		close(stopped)
		<-ended
	}
}
