package logs

import (
	"slices"
	"time"
)

// position records how far a container's log has been read, across broken streams,
// rotated files and restarted instances, which the API does not tell apart. It
// relies on the runtime's timestamps. Two lines may have the same one, and a line
// may stand after a younger one, because the runtime stamps stdout and stderr in
// two goroutines. So position keeps each timestamp that the API would send again.
type position struct {
	// skipped is the time up to which all lines count as read, in nanoseconds.
	skipped int64
	// newest is the newest time of a line, in nanoseconds; 0 before the first.
	newest int64
	// second is where reading resumes: the whole second, since the API accepts
	// no less, that lies disorder before the newest line.
	second int64
	// read holds the times of the lines since second that were read.
	read []int64
}

// disorder bounds how much older a line may be than one that stands before it.
const disorder = 100 * time.Millisecond

// skipTo counts all lines up to a time as read.
func (p *position) skipTo(stamp time.Time) {
	p.skipped = stamp.UnixNano()
	p.advanceTo(stamp)
}

// markRead records that a line was read.
func (p *position) markRead(stamp time.Time) {
	p.advanceTo(stamp)
	if at := stamp.UnixNano(); at >= p.second {
		p.read = append(p.read, at)
	}
}

// advanceTo moves the position to a line, if it is the newest one.
func (p *position) advanceTo(stamp time.Time) {
	at := stamp.UnixNano()
	if at <= p.newest {
		return
	}
	p.newest = at
	if second := stamp.Add(-disorder).Truncate(time.Second).UnixNano(); second > p.second {
		p.second = second
		p.read = slices.DeleteFunc(p.read, func(at int64) bool { return at < second })
	}
}

// isPast reports whether a line is so old that it counts as read in any case.
func (p *position) isPast(stamp time.Time) bool {
	return stamp.UnixNano() <= p.skipped || stamp.UnixNano() < p.second
}

// isEmpty reports whether nothing has been read or skipped yet.
func (p *position) isEmpty() bool { return p.newest == 0 }

// resumeTime returns the time to request the log from; zero for its beginning.
func (p *position) resumeTime() time.Time {
	if p.isEmpty() {
		return time.Time{}
	}
	return time.Unix(0, p.second)
}

// newReplayFilter returns a filter for a stream that starts at resumeTime.
func (p *position) newReplayFilter() *replayFilter {
	a := &replayFilter{skipped: p.skipped, second: p.second, left: map[int64]int{}}
	for _, at := range p.read {
		a.left[at]++
	}
	return a
}

// replayFilter recognizes the lines of one stream that were read before.
type replayFilter struct {
	skipped, second int64
	left            map[int64]int
}

// wasRead reports whether the next line of the stream was read before.
func (a *replayFilter) wasRead(stamp time.Time) bool {
	at := stamp.UnixNano()
	if at <= a.skipped || at < a.second {
		return true
	}
	if a.left[at] == 0 {
		return false
	}
	a.left[at]--
	return true
}
