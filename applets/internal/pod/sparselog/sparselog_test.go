package sparselog

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A buffer takes a log from several goroutines.
type buffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// TestDaysUnderAttack logs twice a second for three days.
func TestDaysUnderAttack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out buffer
		log := New(&out)
		const days, perSecond = 3, 2
		err := errors.New(strings.Repeat("x", 10000))
		for range days * 24 * 3600 * perSecond {
			log.With("redirect", 1).Warn("refused", "peer", "127.0.0.1:40000", "err", err)
			time.Sleep(time.Second / perSecond)
		}

		time.Sleep(longestWait)

		text := out.String()
		if len(text) > 64<<10 {
			t.Errorf("%d bytes after %d days", len(text), days)
		}

		counted := maxAtOnce
		for line := range strings.Lines(text) {
			if _, after, ok := strings.Cut(line, "leftOut="); ok {
				counted += number(t, strings.TrimSpace(after))
			}
		}

		if want := days * 24 * 3600 * perSecond; counted != want {
			t.Errorf("the log tells of %d refusals, want %d", counted, want)
		}
	})
}

func number(t *testing.T, text string) (n int) {
	t.Helper()
	for _, digit := range text {
		if digit < '0' || digit > '9' {
			t.Fatalf("%q is no number", text)
		}
		n = 10*n + int(digit-'0')
	}
	return n
}

// TestKindsAreApart writes what is seldom while something else is frequent, and
// again what has been quiet for long.
func TestKindsAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out buffer
		log := New(&out)
		for range 1000 {
			log.Warn("refused")
		}

		log.Error("end the redirect", "err", errors.New("no such table"))
		log.Debug("not even a warning")
		if text := out.String(); strings.Count(text, "\n") != maxAtOnce+1 || !strings.Contains(text, "no such table") {
			t.Errorf("log = %s", text)
		}

		time.Sleep(3 * longestWait)
		log.Warn("refused", "peer", "new")
		if text := out.String(); !strings.Contains(text, "leftOut=992") || !strings.Contains(text, "peer=new") {
			t.Errorf("log = %s, want a summary, and the new one", text)
		}
	})
}

// TestManyKinds logs texts that do not come from the code.
func TestManyKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out buffer
		log := New(&out)
		for i := range 10000 {
			log.Warn(strings.Repeat("x", i%1000))
		}
		if n := strings.Count(out.String(), "\n"); n > maxAtOnce*(maxKinds+1) {
			t.Errorf("%d lines, want %d at most", n, maxAtOnce*(maxKinds+1))
		}
		time.Sleep(2 * longestWait)
	})
}
