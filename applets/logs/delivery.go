package logs

import (
	"regexp"
	"sync"
	"sync/atomic"
	"time"
)

// podLine carries one line of a container's log to the user.
type podLine struct {
	Namespace, Pod, Container, Node string
	Time                            time.Time
	Text                            []byte
	// Old is set if the line was logged before the command started.
	Old bool
}

// delivery filters, formats and writes lines. It is safe for concurrent use.
type delivery struct {
	include, exclude []*regexp.Regexp
	failOn, until    *regexp.Regexp
	format           func(to []byte, l *podLine) ([]byte, error)
	sink             *sink
	// broken is called if a line cannot be written.
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
	if !d.isShown(l.Text) {
		return
	}

	buffer, _ := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	text, err := d.format((*buffer)[:0], l)
	*buffer = text
	if err == nil {
		err = d.sink.writeLines(text)
	}
	if err != nil {
		d.broken(err)
	}
}

func (d *delivery) isShown(text []byte) bool {
	return (len(d.include) == 0 || anyMatches(d.include, text)) && !anyMatches(d.exclude, text)
}

func anyMatches(list []*regexp.Regexp, text []byte) bool {
	for _, pattern := range list {
		if pattern.Match(text) {
			return true
		}
	}
	return false
}

// checkPatterns looks for lines that end the run or make it fail.
func (d *delivery) checkPatterns(l *podLine) {
	fails := d.failOn != nil && !l.Old && d.failOn.Match(l.Text)
	ends := d.until != nil && d.until.Match(l.Text)
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

	if ends && !isClosed(d.reached) {
		close(d.reached)
	}
}

// firstFailure returns the first line that matched failOn, and the number of matches.
func (d *delivery) firstFailure() (first string, matches int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.matched, d.matches
}
