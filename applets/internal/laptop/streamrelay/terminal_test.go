package streamrelay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"kdiag/kube"
)

const (
	aSession = "0123456789abcdef"
	aSecret  = "00112233445566778899aabbccddeeff"
	aBegin   = "\x1b_kdiag;begin;" + aSession + ";" + aSecret + "\x1b\\"
)

// TestTerminalFilter takes out what the parent says, wherever it is cut, and nothing else.
func TestTerminalFilter(t *testing.T) {
	end := "\x1b_kdiag;end;" + aSecret + ";7\x1b\\"
	// What a target can know does not do: the ID, or another secret.
	forged := "\x1b_kdiag;end;" + aSession + ";7\x1b\\" + strings.Replace(aBegin, "00", "ff", 1) + strings.Replace(end, "00", "ff", 1)
	for _, c := range []struct {
		text, shown string
		ended       bool
	}{
		{"plain\r\n", "plain\r\n", false},
		{"\x1b[1mbold\x1b[0m\r\n" + end, "\x1b[1mbold\x1b[0m\r\n", true},
		{"a" + end + "b", "ab", true},
		{"\x1b", "\x1b", false},
		{"\x1b\x1b" + end, "\x1b\x1b", true},
		{forged, forged, false},
		{forged + end, forged, true},
		{"\x1b_kdiag;end;" + aSecret + ";no number\x1b\\", "\x1b_kdiag;end;" + aSecret + ";no number\x1b\\", false},
		{end[:len(end)-2], end[:len(end)-2], false},
	} {
		c.text = aBegin + c.text
		for cut := range c.text {
			var shown bytes.Buffer
			ending := make(chan struct{})
			term := NewTerminal(aSession, strings.NewReader(""), &shown, Calls{Begun: func() {}, Ending: func() { close(ending) }})
			_, _ = io.WriteString(term, c.text[:cut])
			_, _ = io.WriteString(term, c.text[cut:])

			if c.ended {
				answer := make([]byte, len("\x1b_kdiag;all;"+aSecret+"\x1b\\"))
				go func() { _, _ = io.ReadFull(term.answer, answer) }()
				<-ending
			}
			_, err := term.Finish(nil, nil)
			want := errCut.Error()
			if c.ended {
				want = "exit code 7"
			}
			if shown.String() != c.shown || fmt.Sprint(err) != want {
				t.Errorf("%q cut at %d: shown %q, %v, want %q, %s", c.text, cut, &shown, err, c.shown, want)
			}
		}
	}
}

// TestTerminalFinish tells an end from a cut.
func TestTerminalFinish(t *testing.T) {
	lost := errors.New("connection lost")
	for err, want := range map[error]error{
		nil:                             errCut,
		lost:                            lost,
		&kube.CommandExitError{Code: 9}: errCut,
	} {
		term := NewTerminal(aSession, strings.NewReader(""), io.Discard, Calls{})
		if _, got := term.Finish(nil, err); !errors.Is(got, want) {
			t.Errorf("Finish(%v) = %v, want %v", err, got, want)
		}
	}
	killed := &kube.CommandExitError{Code: 137}
	if _, got := NewTerminal(aSession, strings.NewReader(""), io.Discard, Calls{}).Finish(nil, killed); !errors.Is(got, killed) {
		t.Errorf("Finish = %v, want %v", got, killed)
	}
}

// TestTerminalIsGone ends the exec when the terminal does, in either direction, and has the parent
// answered even if the terminal ends while that waits.
func TestTerminalIsGone(t *testing.T) {
	broken := errors.New("input/output error")
	for _, c := range []struct {
		name string
		in   io.Reader
		out  io.Writer
		want error
	}{
		{"stdin ends", strings.NewReader("typed"), io.Discard, ErrHungUp},
		{"stdin fails", iotest.ErrReader(broken), io.Discard, ErrHungUp},
		{"stdout fails", &blockingReader{}, failingOutput{broken}, broken},
	} {
		failed := make(chan error, 1)
		term := NewTerminal(aSession, c.in, c.out, Calls{Failed: func(err error) { failed <- err }})
		go func() { _, _ = io.Copy(io.Discard, term) }()
		go func() { _, _ = io.WriteString(term, "shown") }()
		if err := <-failed; !errors.Is(err, c.want) {
			t.Errorf("%s: failed with %v, want %v", c.name, err, c.want)
		}
		if _, err := term.Finish(nil, context.Canceled); !errors.Is(err, c.want) {
			t.Errorf("%s: Finish = %v, want %v", c.name, err, c.want)
		}
	}
}

// blockingReader reads nothing until it is closed.
type blockingReader struct{ closed chan struct{} }

func (r *blockingReader) Read([]byte) (int, error) {
	<-r.closed
	return 0, io.EOF
}

type failingOutput struct{ err error }

func (w failingOutput) Write([]byte) (int, error) { return 0, w.err }

// TestTerminalAnswersAfterItsEnd sends the answer although the terminal is gone by then, for either
// direction, and says that the parent may wait where the exec was cut.
func TestTerminalAnswersAfterItsEnd(t *testing.T) {
	in := &blockingReader{make(chan struct{})}
	ending := make(chan struct{})
	out := failingOutput{errors.New("input/output error")}
	term := NewTerminal(aSession, in, out, Calls{
		Begun: func() {}, Ending: func() { close(ending) }, Failed: func(err error) { t.Errorf("failed with %v", err) },
	})
	answer := make(chan string)
	go func() {
		all, _ := io.ReadAll(term)
		answer <- string(all)
	}()

	_, _ = io.WriteString(term, aBegin)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.WriteString(term, "bye\x1b_kdiag;end;"+aSecret+";7\x1b\\")
		close(in.closed)
	}()
	<-gone
	<-ending

	waits, err := term.Finish(nil, context.Canceled)
	if want := "exit code 7"; fmt.Sprint(err) != want || !waits {
		t.Errorf("Finish = %t, %v, want a parent that may wait, and %s", waits, err, want)
	}
	if got, want := <-answer, "\x1b_kdiag;all;"+aSecret+"\x1b\\"; got != want {
		t.Errorf("the pod got %q, want %q", got, want)
	}
}

// TestTerminalThatTakesNothing does not keep the end of a session waiting.
func TestTerminalThatTakesNothing(t *testing.T) {
	read, write := io.Pipe()
	defer read.Close()
	term := NewTerminal(aSession, &blockingReader{}, write, Calls{})
	_, _ = io.WriteString(term, "\x1b_kdiag;")
	stop := make(chan struct{})
	close(stop)
	if _, err := term.Finish(stop, context.Canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("Finish = %v, want %v", err, context.Canceled)
	}
}
