//go:build unix

package capture

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kdiag/kube"
)

// TestNobodyReads ends captures at once whose output nobody reads: stdout that is a full pipe, a FIFO
// that is full, and one that nobody has opened.
func TestNobodyReads(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Close() })
	t.Cleanup(func() { _ = writer.Close() })

	for _, file := range []string{"", "-"} {
		verifyEnds(t, options{file: file}, writer, true)
	}

	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	verifyEnds(t, options{file: fifo}, writer, false)

	opened, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	verifyEnds(t, options{file: fifo}, writer, true)
}

// verifyEnds ends a capture from a pod that sends more than a pipe holds, once it has begun if it
// begins at all.
func verifyEnds(t *testing.T, o options, out *os.File, begins bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{t: t, out: &safeText{}, notes: &safeText{}, cancel: cancel, done: make(chan error, 1)}
	m := newManyPods(t)
	m.burst, m.began = 10000, make(chan struct{})
	r.start(ctx, m, o, out)
	if begins {
		<-m.began
	}

	err := r.stop()
	said := strings.Contains(r.notes.String(), "note: nobody read the output")
	if begins && (!errors.Is(err, errUnread) || !said) || !begins && !errors.Is(err, context.Canceled) {
		t.Errorf("capture to %q, which nobody reads, ended with %v, notes %s", o.file, err, r.notes)
	}
}

// TestReaderGone ends a capture without a count when the reader of its pipe ends.
func TestReaderGone(t *testing.T) {
	m := newManyPods(t) // the first capture makes the user's key
	for _, o := range []options{{}, {file: "-"}, {shown: shown{all: true}}} {
		reader, writer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		_ = reader.Close()

		r := &running{t: t, out: &safeText{}, notes: &safeText{}, done: make(chan error, 1)}
		r.start(t.Context(), m, o, writer)
		if o.all {
			m.watch <- func(w kube.PodWatch) { w.Changed(onePod("web-0")); w.Changed(onePod("web-1")); w.Listed() }
		}
		if err := r.wait(); !errors.Is(err, syscall.EPIPE) || strings.Contains(r.notes.String(), "captured") {
			t.Errorf("capture into a closed pipe ended with %v, notes %s", err, r.notes)
		}
		_ = writer.Close()
	}
}
