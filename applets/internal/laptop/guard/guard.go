// Package guard ends sessions of a kdiag that was killed. A process that is killed says nothing to
// anybody, and at the pod's end that looks like a lost network, for which a manager waits. So a second
// process watches over the first, by a pipe that the kernel closes with it.
package guard

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"kdiag/applets/internal/laptop/containers"
	"kdiag/kube"
)

// AppletName is the name of the applet that runs Watch.
const AppletName = "guard"

// message is what the guarded process writes, one after the other.
type message struct {
	// Connect says how to reach the cluster. It comes first.
	Connect *kube.ConnectOptions `json:",omitempty"`
	// Name is of a session, which is to end by Ending; it needs no end any more if that is nil.
	Name   string             `json:",omitempty"`
	Ending *containers.Ending `json:",omitempty"`
	// Done says that all sessions have ended in good order.
	Done bool `json:",omitempty"`
}

// A Guard has a process end sessions if this one is killed. A nil Guard does nothing. It is safe for
// concurrent use.
type Guard struct {
	connect kube.ConnectOptions

	mu      sync.Mutex
	process *exec.Cmd
	pipe    io.WriteCloser
	out     *json.Encoder
	failed  bool
}

// New returns a Guard, whose process starts with the first session. The caller closes it.
func New(o kube.ConnectOptions) *Guard { return &Guard{connect: o} }

// Add has a session end if this process is killed, in place of the last one with the same name.
func (g *Guard) Add(name string, e containers.Ending) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pipe == nil && !g.failed {
		g.start()
	}
	g.send(message{Name: name, Ending: &e})
}

// Remove has a session end by itself.
func (g *Guard) Remove(name string) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.send(message{Name: name})
}

// closeTimeout bounds the wait for the other process.
const closeTimeout = time.Second

// Close ends the other process, which then does nothing more.
func (g *Guard) Close() {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pipe == nil {
		return
	}

	g.send(message{Done: true})
	_ = g.pipe.Close()
	g.failed = true
	if g.process != nil {
		late := time.AfterFunc(closeTimeout, func() { _ = g.process.Process.Kill() })
		defer late.Stop()
		_ = g.process.Wait()
	}
}

// start starts the other process. Without it kdiag works, too: a manager notices a kdiag that was
// killed some time later. mu is held.
func (g *Guard) start() {
	g.failed = true
	program, err := os.Executable()
	if err != nil {
		return
	}

	process := exec.Command(program, AppletName)
	process.SysProcAttr = Apart()
	pipe, err := process.StdinPipe()
	if err != nil || process.Start() != nil {
		return
	}
	g.process = process
	g.begin(pipe)
}

// begin writes how to reach the cluster.
func (g *Guard) begin(pipe io.WriteCloser) {
	g.pipe, g.out, g.failed = pipe, json.NewEncoder(pipe), false
	g.send(message{Connect: &g.connect})
}

// sendTimeout bounds the wait for a process that was stopped, and whose pipe is full.
const sendTimeout = time.Second

// send writes a message. mu is held.
func (g *Guard) send(m message) {
	if g.pipe == nil || g.failed {
		return
	}
	if pipe, ok := g.pipe.(interface{ SetWriteDeadline(t time.Time) error }); ok {
		_ = pipe.SetWriteDeadline(time.Now().Add(sendTimeout))
	}
	g.failed = g.out.Encode(m) != nil
}

const (
	// endsWithin bounds how long sessions are tried to end.
	endsWithin = 10 * time.Second
	// retryPause is the time from one attempt to the next.
	retryPause = 200 * time.Millisecond
)

// Watch reads what a guarded process writes, and ends its sessions if that stops without a last word.
// It returns the errors of those that it could not end.
func Watch(ctx context.Context, in io.Reader, connect func(kube.ConnectOptions) (containers.Forwarder, error)) error {
	endings := map[string]containers.Ending{}
	var options kube.ConnectOptions
	for lines := json.NewDecoder(in); ; {
		var m message
		if err := lines.Decode(&m); err != nil {
			break // with the process
		}

		switch {
		case m.Done:
			return nil
		case m.Connect != nil:
			options = *m.Connect
		case m.Ending != nil:
			endings[m.Name] = *m.Ending
		default:
			delete(endings, m.Name)
		}
	}

	if len(endings) == 0 {
		return nil
	}
	api, err := connect(options)
	if err != nil {
		return err
	}
	return endAll(ctx, api, endings)
}

// endAll ends sessions side by side.
func endAll(ctx context.Context, api containers.Forwarder, endings map[string]containers.Ending) error {
	ctx, cancel := context.WithTimeout(ctx, endsWithin)
	defer cancel()

	results := make(chan error, len(endings))
	for _, ending := range endings {
		go func() { results <- endUntilDone(ctx, api, ending) }()
	}

	var err error
	for range endings {
		err = errors.Join(err, <-results)
	}
	return err
}

// endUntilDone tries to end a session until that succeeds or ctx ends.
func endUntilDone(ctx context.Context, api containers.Forwarder, ending containers.Ending) error {
	for {
		err := ending.End(ctx, api)
		if err == nil {
			return nil
		}

		select {
		case <-ctx.Done():
			return err
		case <-time.After(retryPause):
		}
	}
}
