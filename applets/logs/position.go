package logs

import (
	"slices"
	"time"
)

// position is how far a container's log has been read: across streams that
// break, files that are rotated and instances that follow each other, which
// the API does not tell apart. It goes by the runtime's timestamps. These may
// be equal, and those of stdout and stderr are taken by two goroutines, so that
// a line may stand behind a younger one; hence those of what would be sent again
// are kept one by one.
type position struct {
	// old is the time up to which lines are old whether they were read or not,
	// in nanoseconds.
	old int64
	// newest is the newest time of a line, in nanoseconds; 0 before the first.
	newest int64
	// second is from when the log is read again: a whole second, which is all
	// that the API can be asked for, and disorder before the newest line.
	second int64
	// read are the times of the lines since second that were read.
	read []int64
}

// disorder is by how much a line may be older than one that stands before it.
const disorder = 100 * time.Millisecond

// skipTo has what is not younger than a line count as read.
func (p *position) skipTo(stamp time.Time) {
	p.old = stamp.UnixNano()
	p.advanceTo(stamp)
}

// markRead counts a line as read.
func (p *position) markRead(stamp time.Time) {
	p.advanceTo(stamp)
	if at := stamp.UnixNano(); at >= p.second {
		p.read = append(p.read, at)
	}
}

// advanceTo lets the position go on to a line, where that is the newest.
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

// isPast reports whether a line is so old that it is taken as read, be that so
// or not.
func (p *position) isPast(stamp time.Time) bool {
	return stamp.UnixNano() <= p.old || stamp.UnixNano() < p.second
}

// isEmpty reports whether nothing has been read or skipped.
func (p *position) isEmpty() bool { return p.newest == 0 }

// resumeTime is from when the log is to be asked for; zero for its beginning.
func (p *position) resumeTime() time.Time {
	if p.isEmpty() {
		return time.Time{}
	}
	return time.Unix(0, p.second)
}

// newReplayFilter is what of a log that is read again, from since on, was read before.
func (p *position) newReplayFilter() *replayFilter {
	a := &replayFilter{old: p.old, second: p.second, left: map[int64]int{}}
	for _, at := range p.read {
		a.left[at]++
	}
	return a
}

// replayFilter tells the lines of one stream that were read before from the others.
type replayFilter struct {
	old, second int64
	left        map[int64]int
}

// wasRead reports whether the next line of the stream was read before.
func (a *replayFilter) wasRead(stamp time.Time) bool {
	at := stamp.UnixNano()
	if at <= a.old || at < a.second {
		return true
	}
	if a.left[at] == 0 {
		return false
	}
	a.left[at]--
	return true
}
