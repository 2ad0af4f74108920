package redir

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"kdiag/applets/internal/laptop/redirectclient"
	"kdiag/applets/internal/laptop/statusline"
)

// stuckWriter blocks until it is released. Then it is a buffer.
type stuckWriter struct {
	begun    chan struct{} // has a value once something is to be written
	released chan struct{}
	mu       sync.Mutex
	text     bytes.Buffer
}

func (w *stuckWriter) Write(p []byte) (int, error) {
	select {
	case w.begun <- struct{}{}:
	default:
	}
	<-w.released
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func newStuckQueue(output string) (*eventQueue, *stuckWriter) {
	out := &stuckWriter{begun: make(chan struct{}, 1), released: make(chan struct{})}
	queue := options{output: output}.newQueue(out, statusline.New(io.Discard), func() {})
	queue.now = func() time.Time { return eventTime }
	return queue, out
}

// TestStuckOutput has many connections come and go while nothing can be printed. None of them may
// wait, and the output says how many are missing.
func TestStuckOutput(t *testing.T) {
	const connections = 100_000
	queue, out := newStuckQueue("json")
	queue.RedirectStarted(redirectclient.RedirectStarted{})
	<-out.begun
	for range connections {
		queue.ConnectionOpened(redirectclient.Connection{})
	}
	for range connections {
		queue.Problem(redirectclient.Problem{Err: errors.New("x")})
	}
	queue.DrainStarted(redirectclient.DrainStarted{})
	queue.ConnectionOpened(redirectclient.Connection{})
	queue.Finished(redirectclient.Summary{})
	if n := len(queue.waiting); n > maxWaiting+10 {
		t.Errorf("%d events wait, want about %d at most", n, maxWaiting)
	}

	close(out.released)
	queue.finish(t.Context(), time.Hour, func() {})
	counts, missed, order := map[string]int{}, 0, []string{}
	for line := range strings.Lines(out.text.String()) {
		var e missedJSON
		if err := json.Unmarshal([]byte(line), &e); err != nil || !e.Time.Equal(eventTime) {
			t.Fatalf("line %q: %v, want the event's own time", line, err)
		}
		counts[e.Event]++
		missed += e.Count
		if len(order) == 0 || order[len(order)-1] != e.Event {
			order = append(order, e.Event)
		}
	}

	if got := counts["open"] + counts["error"] + missed; got != 2*connections+1 {
		t.Errorf("%d events are printed or said to be missing, want %d", got, 2*connections+1)
	}
	if want := []string{"redirect", "open", "missed", "error", "missed", "draining", "missed", "summary"}; !reflect.DeepEqual(order, want) {
		t.Errorf("events %q, want %q", order, want)
	}
}

// TestMissedIsSaidLast says that events are missing although none follows.
func TestMissedIsSaidLast(t *testing.T) {
	queue, out := newStuckQueue("text")
	queue.ConnectionOpened(redirectclient.Connection{})
	<-out.begun
	for range maxWaitingConnections + 9 {
		queue.ConnectionOpened(redirectclient.Connection{})
	}

	close(out.released)
	queue.finish(t.Context(), time.Hour, func() {})
	lines := strings.Split(strings.TrimSpace(out.text.String()), "\n")
	var missed int
	_, err := fmt.Sscanf(lines[len(lines)-1], "the output was blocked: %d events not shown", &missed)
	if err != nil || missed+len(lines)-1 != maxWaitingConnections+10 {
		t.Errorf("last of %d lines %q, want that the rest is missing", len(lines), lines[len(lines)-1])
	}
}

// TestEndsWithStuckOutput ends at Ctrl-C although nothing can be printed.
func TestEndsWithStuckOutput(t *testing.T) {
	queue, out := newStuckQueue("text")
	defer close(out.released)
	queue.Finished(redirectclient.Summary{})

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		queue.finish(ctx, time.Millisecond, func() {})
	}()
	cancel()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("the end waits for an output that is stuck")
	}
}

// TestQueueKeepsOrder prints what several goroutines report, each in its order.
func TestQueueKeepsOrder(t *testing.T) {
	var out strings.Builder
	queue := options{}.newQueue(&out, statusline.New(io.Discard), func() {})
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 100 {
				queue.Problem(redirectclient.Problem{Err: fmt.Errorf("%d %d", g, i)})
			}
		})
	}
	all.Wait()
	queue.finish(t.Context(), time.Hour, func() {})

	var next [4]int
	for line := range strings.Lines(out.String()) {
		var g, i int
		if _, err := fmt.Sscanf(line, "%d %d", &g, &i); err != nil || next[g] != i {
			t.Fatalf("line %q, want number %d of it", line, next[g])
		}
		next[g]++
	}
	if next != [4]int{100, 100, 100, 100} {
		t.Errorf("printed %v, want all", next)
	}
}
