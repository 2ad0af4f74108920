package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kdiag/mux/wire"
)

// testLimits lets little into memory, and files be small.
func testLimits(t *testing.T) queueLimits {
	t.Helper()
	return queueLimits{memory: 100, file: 300, files: 100_000, dir: t.TempDir()}
}

// takeAll returns all that is in a queue, with notes in brackets.
func takeAll(q *outputQueue) string {
	var text strings.Builder
	for {
		lines, note, _ := q.takeNext()
		if text.Write(lines); note != "" {
			text.WriteString("[" + note + "]\n")
		}
		if note == "" && len(lines) == 0 {
			return text.String()
		}
	}
}

// TestQueueKeepsOrder: lines and notes come out as they went in, through memory and files,
// whenever somebody takes some, and no file is left.
func TestQueueKeepsOrder(t *testing.T) {
	for every := 1; every < 200; every += 13 {
		limits := testLimits(t)
		q := newOutputQueue(limits)
		var got, want strings.Builder
		for n := range 1000 {
			line := fmt.Sprintf("line %d\n", n)
			want.WriteString(line)
			q.addLine([]byte(line))
			if n%100 == 50 {
				q.addNote(fmt.Sprint("note ", n))
				fmt.Fprintf(&want, "[note %d]\n", n)
			}
			if n%every == 0 {
				lines, note, _ := q.takeNext()
				if got.Write(lines); note != "" {
					got.WriteString("[" + note + "]\n")
				}
			}
		}

		if got.WriteString(takeAll(q)); got.String() != want.String() {
			t.Errorf("every %d: got %d bytes, want %d in order", every, got.Len(), want.Len())
		}
		if left, _ := filepath.Glob(limits.dir + "/*"); len(left) > 0 || q.held != 0 || q.stored != 0 {
			t.Errorf("left: files %q, %d bytes in memory and %d in files", left, q.held, q.stored)
		}
	}
}

// TestQueueIsBounded: what is too much is lost, and a note says so where it would stand.
func TestQueueIsBounded(t *testing.T) {
	limits := testLimits(t)
	limits.files = 1000
	q := newOutputQueue(limits)
	for range 500 {
		q.addLine([]byte("0123456789\n"))
	}
	if waiting := q.countWaiting(); waiting > limits.memory+limits.files {
		t.Errorf("%d bytes wait, want %d at most", waiting, limits.memory+limits.files)
	}
	kept := int(q.countWaiting() / 11)
	q.close()

	want := strings.Repeat("0123456789\n", kept) + fmt.Sprintf("[%d lines are missing here: the output was not read]\n", 500-kept)
	if got := takeAll(q); got != want {
		t.Errorf("taken %q, want %q", got, want)
	}
}

// TestQueueWithoutDisk: without room for files, memory is all there is, and the note says
// why. Files are tried again later.
func TestQueueWithoutDisk(t *testing.T) {
	limits := testLimits(t)
	limits.dir += "/none"
	q := newOutputQueue(limits)
	for range 20 {
		q.addLine([]byte("0123456789\n"))
	}
	first, _, _ := q.takeNext()
	q.addLine([]byte("next\n"))
	got := string(first) + takeAll(q)
	if want := strings.Repeat("0123456789\n", 9); !strings.HasPrefix(got, want+"[11 lines are missing here: the output was not read, and no file could be written: ") || !strings.HasSuffix(got, "]\nnext\n") {
		t.Errorf("taken %q, want 9 lines, a note, and the next line", got)
	}
}

// TestQueueTriesFilesAgain: a folder that is there only later takes files then, even though the very
// first file could not be made.
func TestQueueTriesFilesAgain(t *testing.T) {
	limits := testLimits(t)
	limits.dir += "/later"
	q := newOutputQueue(limits)
	for range 20 {
		q.addLine([]byte("0123456789\n"))
	}
	takeAll(q)

	if err := os.Mkdir(limits.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		q.addLine([]byte("0123456789\n"))
	}
	q.close()

	got := takeAll(q)
	if !strings.HasPrefix(got, "[11 lines are missing here: ") || !strings.HasSuffix(got, "]\n"+strings.Repeat("0123456789\n", 20)) {
		t.Errorf("taken %q, want a note on 11 lines, and then 20 lines", got)
	}
}

// stuckWriter writes nothing until it is freed.
type stuckWriter struct {
	free chan struct{}
	text bytes.Buffer
	err  error
}

func (w *stuckWriter) Write(p []byte) (int, error) {
	<-w.free
	if w.err != nil {
		return 0, w.err
	}
	return w.text.Write(p)
}

func startOutlet(t *testing.T, out io.Writer) *outlet {
	t.Helper()
	o := &outlet{queue: newOutputQueue(testLimits(t)), out: out, note: func(string) {}, broken: func(error) {}, ended: make(chan struct{})}
	go o.writeQueue()
	return o
}

// TestOutletWaitsForReader: a reader that stops for an hour gets everything. With a
// command kdiag gives up after a while.
func TestOutletWaitsForReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &stuckWriter{free: make(chan struct{})}
		o := startOutlet(t, w)
		for range 1000 {
			o.queue.addLine([]byte("0123456789\n"))
		}
		if left, err := o.finish(t.Context(), 10*time.Second); left == 0 || err != nil {
			t.Errorf("finish with a reader that stands still: %d bytes left, %v, want some", left, err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if left, err := o.finish(ended, 0); left == 0 || err != nil {
			t.Errorf("finish after Ctrl-C: %d bytes left, %v, want some", left, err)
		}

		time.AfterFunc(time.Hour, func() { close(w.free) })
		if left, err := o.finish(t.Context(), 0); left != 0 || err != nil || w.text.Len() != 11_000 {
			t.Errorf("finish: %d bytes left, %v, %d bytes written, want 0, nil and 11000", left, err, w.text.Len())
		}
	})
}

// TestOutletBroken: a write that fails is reported, and what waits is forgotten.
func TestOutletBroken(t *testing.T) {
	w := &stuckWriter{free: make(chan struct{}), err: os.ErrClosed}
	o := startOutlet(t, w)
	for range 1000 {
		o.queue.addLine([]byte("0123456789\n"))
	}
	close(w.free)
	if left, err := o.finish(t.Context(), 0); left != 0 || !errors.Is(err, os.ErrClosed) {
		t.Errorf("finish: %d bytes left, %v, want 0 and the error", left, err)
	}
}

// TestOutletEndsAfterBrokenWrite: notes still come out after a write that failed, and the outlet ends,
// whatever waited then.
func TestOutletEndsAfterBrokenWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &stuckWriter{free: make(chan struct{}), err: os.ErrClosed}
		var notes []string
		o := &outlet{queue: newOutputQueue(testLimits(t)), out: w, broken: func(error) {}, ended: make(chan struct{}),
			note: func(text string) { notes = append(notes, text) }}
		go o.writeQueue()
		for range 1000 {
			o.queue.addLine([]byte("0123456789\n"))
		}

		close(w.free)
		synctest.Wait()
		o.queue.addNote("the container has ended")
		o.queue.addLine([]byte("a line that comes late\n"))

		if left, err := o.finish(t.Context(), time.Minute); left != 0 || !errors.Is(err, os.ErrClosed) {
			t.Errorf("finish: %d bytes left, %v, want 0 and the error", left, err)
		}
		if !wire.IsClosed(o.ended) {
			t.Fatal("the outlet has not ended")
		}
		if !slices.Equal(notes, []string{"the container has ended"}) {
			t.Errorf("notes %q, want the one that came after the failure", notes)
		}
	})
}
