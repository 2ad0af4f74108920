package streamrelay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

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
			term := NewTerminal(aSession, strings.NewReader(""), &shown, func() { close(ending) })
			_, _ = io.WriteString(term, c.text[:cut])
			_, _ = io.WriteString(term, c.text[cut:])

			if c.ended {
				answer := make([]byte, len("\x1b_kdiag;all;"+aSecret+"\x1b\\"))
				go func() { _, _ = io.ReadFull(term.answer, answer) }()
				<-ending
			}
			err := term.Finish(nil)
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
		term := NewTerminal(aSession, strings.NewReader(""), io.Discard, func() {})
		if got := term.Finish(err); !errors.Is(got, want) {
			t.Errorf("Finish(%v) = %v, want %v", err, got, want)
		}
	}
	killed := &kube.CommandExitError{Code: 137}
	if got := NewTerminal(aSession, strings.NewReader(""), io.Discard, nil).Finish(killed); !errors.Is(got, killed) {
		t.Errorf("Finish = %v, want %v", got, killed)
	}
}
