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
	in     io.Reader
	out    io.Writer
	ending func()

	answer *io.PipeReader
	typed  *io.PipeWriter
	begin  sync.Once // to read in

	mu      sync.Mutex
	held    []byte // the beginning, maybe, of what the parent says
	awaited string // the beginning of what it says next
	secret  string // by which it is known; empty until it has said that
	ended   bool
	code    int
}

// NewTerminal returns the streams of the shell of a session. ending is called when everything has
// arrived and the exec may be cut off.
func NewTerminal(session string, in io.Reader, out io.Writer, ending func()) *Terminal {
	t := &Terminal{in: in, out: out, ending: ending, awaited: wire.RelayBeginStart + session + ";"}
	t.answer, t.typed = io.Pipe()
	return t
}

// Read returns what the user types, and the answer to the parent.
func (t *Terminal) Read(p []byte) (int, error) {
	t.begin.Do(func() {
		go func() {
			_, err := io.Copy(t.typed, t.in)
			t.typed.CloseWithError(err)
		}()
	})
	return t.answer.Read(p)
}

// Write shows what the shell prints.
func (t *Terminal) Write(p []byte) (int, error) {
	shown, ended := t.filter(p)
	if len(shown) > 0 {
		if _, err := t.out.Write(shown); err != nil {
			return 0, err
		}
	}

	if ended {
		go t.sendAnswer()
	}
	return len(p), nil
}

// sendAnswer tells the parent that all has arrived.
func (t *Terminal) sendAnswer() {
	_, _ = io.WriteString(t.typed, wire.RelayAllStart+t.secret+wire.RelayStringEnd)
	t.ending()
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

// Finish returns the result of the shell whose exec returned err, and shows what was held back.
func (t *Terminal) Finish(err error) error {
	t.mu.Lock()
	held, ended, code := t.held, t.ended, t.code
	t.held = nil
	t.mu.Unlock()
	_, _ = t.out.Write(held)
	_ = t.typed.Close()

	var exit *kube.CommandExitError
	switch {
	case ended && code != 0:
		return &kube.CommandExitError{Code: code}
	case ended:
		return nil
	case err == nil:
		return errCut
	case errors.As(err, &exit) && exit.Code <= maxOwnCode && exit.Code != 1 && exit.Code != 2:
		// With 1 or 2 it is the launcher that says why no shell started.
		return errCut
	}
	return err
}
