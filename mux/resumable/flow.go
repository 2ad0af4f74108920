package resumable

import "time"

// Flow is the data of one writer. What it has sent of late decides whether that is bulk data, which
// lets all other go first. Its zero value is ready to use, with one stream.
type Flow struct {
	recent   int64         // bytes that were sent of late
	last     time.Duration // when the last of them was
	progress int64         // of bulk data then
	bulk     bool
	calmAt   time.Duration // from when on it counts as one that is never bulk
	span     int           // the last in which it was counted as bulk
}

const (
	// bulkBurst is how much may be sent of late before it counts as bulk, in bytes.
	bulkBurst = 64 << 10
	// bulkPause is how long a pause is after which a burst is forgotten.
	bulkPause = 100 * time.Millisecond
	// calmAfter is how long after its last bulk data a flow counts as one of small data.
	calmAfter = 2 * time.Second
	// sparse is the part of what an average flow of bulk data sends that is none.
	sparse = 0.25
)

// isBulk reports whether n more bytes are part of bulk data. What was sent is forgotten while
// nothing is, and beside others that have sent progress bytes of bulk data each, by a part of it.
func (f *Flow) isBulk(n, progress int64, now time.Duration) bool {
	paused := float64(now-f.last) / float64(bulkPause)
	forgotten := min(paused, 2)*bulkBurst + sparse*float64(progress-f.progress)
	f.recent = max(f.recent-int64(forgotten), 0)
	f.last, f.progress = now, progress
	f.recent = min(f.recent+n, 2*bulkBurst)
	if f.bulk = f.recent > bulkBurst; f.bulk {
		f.calmAt = now + calmAfter
	}
	return f.bulk
}

// isCalm reports whether the flow sends small data only: bulk data that has paused does not.
func (f *Flow) isCalm(now time.Duration) bool { return now >= f.calmAt }

// flowCount counts what an average flow of bulk data sends.
type flowCount struct {
	progress int64 // bytes since the stream was made

	span           int // now
	began          time.Duration
	active, before int // flows in this span, and in the last
}

// flowSpan is how long flows are counted.
const flowSpan = 50 * time.Millisecond

// add counts n bytes of a flow, one of waiting.
func (c *flowCount) add(f *Flow, n int64, waiting int, now time.Duration) {
	if now-c.began > flowSpan {
		c.span++
		c.began, c.before, c.active = now, c.active, 0
	}
	if f.span != c.span {
		f.span = c.span
		c.active++
	}
	c.progress += n / int64(max(c.active, c.before, waiting))
}
