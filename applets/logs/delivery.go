package logs

import (
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kdiag/mux/wire"
)

// podLine carries one line of a container's log to the user.
type podLine struct {
	Namespace, Pod, Container, Node string
	Time                            time.Time
	Text                            []byte
	// Old is set if the line was logged before the command started.
	Old bool
	// long, if set, knows what a line matches of which Text is only the beginning.
	long *longLine
}

// matches reports whether the whole line matches a pattern.
func (l *podLine) matches(pattern *regexp.Regexp) bool {
	if l.long != nil {
		return l.long.matches(pattern)
	}
	return pattern.Match(l.Text)
}

// delivery filters and formats lines, and hands them to a queue. It never waits for what
// writes them. It is safe for concurrent use.
type delivery struct {
	include, exclude []*regexp.Regexp
	failOn, until    *regexp.Regexp
	format           func(to []byte, l *podLine) ([]byte, error)
	queue            *outputQueue
	// broken is called if a line cannot be formatted.
	broken func(error)

	last atomic.Int64 // when the last line came, in nanoseconds

	mu      sync.Mutex
	matched string // the first line that matched failOn, with its pod and container
	matches int
	failed  chan struct{} // closed at the first match of failOn
	reached chan struct{} // closed at the first match of until
}

// buffers recycles the memory that lines are formatted in.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

func (d *delivery) deliverLine(l *podLine) {
	d.last.Store(time.Now().UnixNano())
	d.checkPatterns(l)
	if !d.isShown(l) {
		return
	}

	buffer, _ := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	text, err := d.format((*buffer)[:0], l)
	*buffer = text
	if err != nil {
		d.broken(err)
		return
	}
	d.queue.addLine(text)
}

// beginLongLine begins to look at a line that is cut.
func (d *delivery) beginLongLine(text []byte) *longLine {
	patterns := slices.Concat(d.include, d.exclude)
	for _, pattern := range []*regexp.Regexp{d.failOn, d.until} {
		if pattern != nil {
			patterns = append(patterns, pattern)
		}
	}
	return newLongLine(text, patterns)
}

func (d *delivery) isShown(l *podLine) bool {
	return (len(d.include) == 0 || slices.ContainsFunc(d.include, l.matches)) && !slices.ContainsFunc(d.exclude, l.matches)
}

// checkPatterns looks for lines that end the run or make it fail.
func (d *delivery) checkPatterns(l *podLine) {
	fails := d.failOn != nil && !l.Old && l.matches(d.failOn)
	ends := d.until != nil && l.matches(d.until)
	if !fails && !ends {
		return
	}

	d.mu.Lock()
	defer d.mu.Unlock()
	if fails {
		if d.matches++; d.matches == 1 {
			d.matched = l.Pod + " " + l.Container + " " + string(l.Text)
			close(d.failed)
		}
	}

	if ends && !wire.IsClosed(d.reached) {
		close(d.reached)
	}
}

// firstFailure returns the first line that matched failOn, and the number of matches.
func (d *delivery) firstFailure() (first string, matches int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.matched, d.matches
}
