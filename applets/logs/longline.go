package logs

import (
	"bufio"
	"io"
	"regexp"
	"sync"
)

// longLine looks for patterns in a line that is longer than what is kept of it. Its
// methods do nothing if it is nil.
type longLine struct {
	pieces  []*io.PipeWriter
	running sync.WaitGroup

	mu      sync.Mutex
	matched map[*regexp.Regexp]bool
}

// newLongLine starts to look for patterns in a line that begins with text.
func newLongLine(text []byte, patterns []*regexp.Regexp) *longLine {
	l := &longLine{matched: map[*regexp.Regexp]bool{}}
	for _, pattern := range patterns {
		from, to := io.Pipe()
		l.pieces = append(l.pieces, to)
		l.running.Go(func() {
			matched := pattern.MatchReader(bufio.NewReader(from))
			// What follows is of no interest.
			_ = from.Close()

			l.mu.Lock()
			defer l.mu.Unlock()
			l.matched[pattern] = matched
		})
	}
	l.addPiece(text)

	return l
}

// addPiece goes on with the next piece of the line.
func (l *longLine) addPiece(piece []byte) {
	if l == nil {
		return
	}
	for _, to := range l.pieces {
		// It fails once the pattern has matched.
		_, _ = to.Write(piece)
	}
}

// endLine ends the line.
func (l *longLine) endLine() {
	if l == nil {
		return
	}
	for _, to := range l.pieces {
		_ = to.Close()
	}
	l.running.Wait()
}

// matches reports whether the whole line matches a pattern, which newLongLine got.
func (l *longLine) matches(pattern *regexp.Regexp) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.matched[pattern]
}
