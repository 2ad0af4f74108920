package shell

import (
	"io"
	"sync"
)

// maxReplay bounds what is kept of the input for another attempt.
const maxReplay = 1 << 20

// replayedInput gives one input to several attempts to run a command: what an attempt took without
// being answered is there again for the next. A read that an attempt has left behind goes on, and
// what it brings is the next one's.
type replayedInput struct {
	in io.Reader

	mu      sync.Mutex
	changed *sync.Cond
	kept    []byte // what was read, from the first attempt on or, once kept no more, what nobody took
	err     error  // the end of the input
	reading bool
	final   bool // the present attempt is the last one
	attempt int
}

func newReplayedInput(in io.Reader) *replayedInput {
	r := &replayedInput{in: in}
	r.changed = sync.NewCond(&r.mu)
	return r
}

// begin begins an attempt, and returns its input. The attempt before has none any more.
func (r *replayedInput) begin() io.Reader {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attempt++
	r.changed.Broadcast()
	return &attemptInput{replayedInput: r, number: r.attempt}
}

// keepNoMore says that the present attempt is the last one: its command runs.
func (r *replayedInput) keepNoMore() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.final = true
}

// mayBegin reports whether another attempt would get all of the input.
func (r *replayedInput) mayBegin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.final
}

// read reads once, for whichever attempt comes to take it.
func (r *replayedInput) read() {
	part := make([]byte, 32<<10)
	n, err := r.in.Read(part)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept, r.err, r.reading = append(r.kept, part[:n]...), err, false
	r.changed.Broadcast()
}

// attemptInput is the input of one attempt.
type attemptInput struct {
	*replayedInput
	number int
	at     int // how much of kept it has taken
}

func (a *attemptInput) Read(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.number == a.attempt {
		switch {
		case a.at < len(a.kept):
			return a.take(p), nil
		case a.err != nil:
			return 0, a.err
		case a.final && !a.reading:
			// Nobody else will read.
			a.mu.Unlock()
			n, err := a.in.Read(p)
			a.mu.Lock()
			return n, err
		case !a.reading:
			a.reading = true
			go a.read()
		}
		a.changed.Wait()
	}

	return 0, io.EOF
}

// take copies what is kept, and forgets it if this is the last attempt.
func (a *attemptInput) take(p []byte) int {
	n := copy(p, a.kept[a.at:])
	a.at += n
	a.final = a.final || a.at > maxReplay
	if a.final {
		a.kept, a.at = a.kept[a.at:], 0
	}
	return n
}
