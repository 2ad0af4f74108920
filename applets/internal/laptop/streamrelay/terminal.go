package streamrelay

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"

	"kdiag/kube"
	"kdiag/mux/wire"
)

// Terminal carries the two streams of a shell on a terminal. Its parent in the pod says at the end
// that there is no more, in the output itself, and waits until it has been answered.
type Terminal struct {
	in    io.Reader
	out   io.Writer
	calls Calls

	answer *io.PipeReader
	typed  *io.PipeWriter
	begin  sync.Once // to read in

	mu      sync.Mutex
	held    []byte // the beginning, maybe, of what the parent says
	awaited string // the beginning of what it says next
	secret  string // by which it is known; empty until it has said that
	ended   bool
	code    int
	failure error // what the user's side ended with, before the shell's end
}

// ErrHungUp reports that the user's terminal is gone.
var ErrHungUp = errors.New("the terminal was closed")

// NewTerminal returns the streams of the shell of a session.
func NewTerminal(session string, in io.Reader, out io.Writer, calls Calls) *Terminal {
	t := &Terminal{in: in, out: out, calls: calls, awaited: wire.RelayBeginStart + session + ";"}
	t.answer, t.typed = io.Pipe()
	return t
}

// Read returns what the user types, and the answer to the parent.
func (t *Terminal) Read(p []byte) (int, error) {
	t.begin.Do(func() { go t.sendTyped() })
	return t.answer.Read(p)
}

// sendTyped hands on what the user types. In raw mode no key ends the input: where it ends, the
// terminal is gone, whether or not a SIGHUP says so. Only Finish closes the pipe, which the answer
// takes, too.
func (t *Terminal) sendTyped() {
	_, _ = io.Copy(t.typed, t.in)
	t.fail(ErrHungUp)
}

// fail ends the exec because of the user's side, unless the shell has ended: then the exec is about to
// end by itself, once the parent has its answer.
func (t *Terminal) fail(err error) {
	t.mu.Lock()
	isFirst := !t.ended && t.failure == nil
	if isFirst {
		t.failure = err
	}
	t.mu.Unlock()

	if isFirst {
		t.calls.Failed(err)
	}
}

// Write shows what the shell prints.
func (t *Terminal) Write(p []byte) (int, error) {
	shown, ended := t.filter(p)
	var err error
	if len(shown) > 0 {
		_, err = t.out.Write(shown)
	}

	switch {
	case ended:
		go t.sendAnswer()
	case err != nil:
		t.fail(err)
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// sendAnswer tells the parent that all has arrived.
func (t *Terminal) sendAnswer() {
	_, _ = io.WriteString(t.typed, wire.RelayAllStart+t.secret+wire.RelayStringEnd)
	t.calls.Ending()
}

// filter takes out what the parent says, and holds back what may be the beginning of it. It
// reports whether the shell has just ended.
func (t *Terminal) filter(p []byte) (shown []byte, ended bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended || len(t.held) == 0 && bytes.IndexByte(p, '\x1b') < 0 {
		return p, false
	}

	all := append(t.held, p...)
	t.held = nil
	for {
		before, rest, found := bytes.Cut(all, []byte(t.awaited))
		if !found {
			at := beginningAt(all, t.awaited)
			t.held = bytes.Clone(all[at:])
			return append(shown, all[:at]...), false
		}

		said, after, whole := bytes.Cut(rest, []byte(wire.RelayStringEnd))
		switch {
		case !whole && len(rest) < maxSaid:
			t.held = bytes.Clone(all[len(before):])
			return append(shown, before...), false
		case !whole || !t.obey(string(said)):
			return append(shown, all...), false
		case t.ended:
			return append(append(shown, before...), after...), true
		}
		shown, all = append(shown, before...), after
	}
}

// obey takes note of what the parent says: its secret first, and then the shell's exit code. It
// reports whether that can be so. mu is held.
func (t *Terminal) obey(said string) bool {
	if t.secret == "" && len(said) == wire.RelaySecretSize {
		t.secret, t.awaited = said, wire.RelayEndStart+said+";"
		t.calls.Begun()
		return true
	}

	code, err := strconv.Atoi(said)
	t.ended, t.code = err == nil && t.secret != "", code
	return t.ended
}

// maxSaid is more than what the parent says, and the end of the string, take.
const maxSaid = wire.RelaySecretSize + 8

// beginningAt returns where text ends with the beginning of what is looked for, or its length.
func beginningAt(text []byte, lookedFor string) int {
	for at := max(0, len(text)-len(lookedFor)+1); at < len(text); at++ {
		if strings.HasPrefix(lookedFor, string(text[at:])) {
			return at
		}
	}
	return len(text)
}

// Finish returns the result of the shell whose exec returned err, and shows what was held back,
// until stop is closed. waits says that the parent may be waiting in the pod for its answer.
func (t *Terminal) Finish(stop <-chan struct{}, err error) (waits bool, result error) {
	t.mu.Lock()
	held, ended, code, failure := t.held, t.ended, t.code, t.failure
	t.held = nil
	t.mu.Unlock()
	t.showHeld(held, stop)
	_ = t.typed.Close()

	var exit *kube.CommandExitError
	isExit := errors.As(err, &exit)
	waits = ended && err != nil && !isExit
	switch {
	case failure != nil:
		return waits, failure
	case ended && code != 0:
		return waits, &kube.CommandExitError{Code: code}
	case ended:
		return waits, nil
	case err == nil:
		return waits, errCut
	case isExit && exit.Code <= maxOwnCode && exit.Code != 1 && exit.Code != 2:
		// With 1 or 2 it is the launcher that says why no shell started.
		return waits, errCut
	}
	return waits, err
}

// showHeld shows what was held back. A terminal that takes nothing keeps nobody waiting once stop is
// closed: the session in the pod must end.
func (t *Terminal) showHeld(held []byte, stop <-chan struct{}) {
	if len(held) == 0 {
		return
	}

	shown := make(chan struct{})
	go func() {
		defer close(shown)
		_, _ = t.out.Write(held)
	}()

	select {
	case <-shown:
	case <-stop:
	}
}
