package kit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// RedirEvent is a line of "redir -o json".
type RedirEvent struct {
	Event, Redirect, Local, Backend, Source, Destination, Error string
	Established, TakenOver                                      int
	Addresses                                                   []string
	Received, Sent, Connections, Refused                        int64
}

// RedirRun is a running "kdiag redir".
type RedirRun struct {
	t      *testing.T
	Cmd    *exec.Cmd
	Events chan RedirEvent
	Stderr *lockedBuffer
	ended  chan struct{}
	Code   int
}

// WaitForEvent waits for the next event of a kind.
func (r *RedirRun) WaitForEvent(kind string) RedirEvent {
	r.t.Helper()
	limit := time.After(90 * time.Second)
	for {
		select {
		case e, open := <-r.Events:
			if !open {
				<-r.ended
				r.t.Fatalf("redir ended with code %d before an event %q: %s", r.Code, kind, r.Stderr)
			}
			if e.Event == kind {
				return e
			}
		case <-limit:
			r.t.Fatalf("still waiting for an event %q: %s", kind, r.Stderr)
		}
	}
}

// Interrupt is Ctrl-C, and waits for the end.
func (r *RedirRun) Interrupt() {
	r.t.Helper()
	_ = r.Cmd.Process.Signal(syscall.SIGINT)
	r.WaitForEnd()
}

func (r *RedirRun) WaitForEnd() {
	r.t.Helper()
	select {
	case <-r.ended:
	case <-time.After(90 * time.Second):
		r.t.Fatal("redir does not end")
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// StartRedir starts one with more environment.
func StartRedir(t *testing.T, env []string, args ...string) *RedirRun {
	t.Helper()
	r := &RedirRun{t: t, Events: make(chan RedirEvent, 100000), Stderr: &lockedBuffer{}, ended: make(chan struct{})}
	r.Cmd = exec.Command(BinaryPath(), append([]string{"redir", "-o", "json"}, args...)...)
	r.Cmd.Env, r.Cmd.Stderr = Environment(env...), r.Stderr
	stdout, err := r.Cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Cmd.Start(); err != nil {
		t.Fatal(err)
	}

	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			var e RedirEvent
			if json.Unmarshal(lines.Bytes(), &e) == nil {
				r.Events <- e
			}
		}

		close(r.Events)
		_ = r.Cmd.Wait()
		r.Code = r.Cmd.ProcessState.ExitCode()
		close(r.ended)
	}()

	t.Cleanup(func() {
		_ = r.Cmd.Process.Kill()
		<-r.ended
	})
	return r
}

// StartRedirects starts one and waits until all of its redirects hold.
func StartRedirects(t *testing.T, redirects int, args ...string) *RedirRun {
	t.Helper()
	r := StartRedir(t, nil, args...)
	for range redirects {
		r.WaitForEvent("redirect")
	}
	return r
}
