package shell

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"kdiag/kube"
	"kdiag/mux/wire"
)

// lifeline tells the pod that the user's side of a session is gone. A runtime
// leaves an exec'd process on a terminal running when its client goes, so a
// second exec, without a terminal, stands by: its stdin ends with the client,
// however that ended, and then "enter --lifeline" hangs the session up.
type lifeline struct {
	*shellSession

	mu     sync.Mutex
	timers []*time.Timer // any of which opens it
	cancel context.CancelFunc
	stdin  *io.PipeWriter
	ended  chan struct{}
	hungUp chan struct{} // is closed when the session is to be hung up
}

// These say how long a session runs before its lifeline is opened. Most commands
// have ended by then, and on a terminal the lifeline must not slow down the first
// prompt. A client that can still act opens the lifeline when it ends, so only one
// that is killed this early leaves its shell behind.
const (
	lifelineDelay    = time.Second
	firstOutputDelay = 100 * time.Millisecond
	// slowLifelineDelay is for a pod whose CPU limit is below smallCPU, in thousandths of a
	// processor: a shell takes some 30 ms of one to start.
	slowLifelineDelay = 10 * time.Second
	smallCPU          = 100
)

// hangUpTimeout bounds the wait for a hang-up to be carried out.
const hangUpTimeout = 10 * time.Second

// These say how long a lifeline that failed waits before it is opened again: the
// first time, and at most.
const (
	firstRetryDelay = 100 * time.Millisecond
	maxRetryDelay   = 10 * time.Second
)

// hangUpTries is how often a hang-up is tried: where the container has ended, or the
// API server is away, there is no point in more.
const hangUpTries = 3

// start begins the lifeline after a while, if it has not begun by then. It
// outlives ctx, whose end is what it is for.
func (l *lifeline) start(ctx context.Context, after time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ctx = context.WithoutCancel(ctx)
	l.timers = append(l.timers, time.AfterFunc(after, func() { l.openLifeline(ctx) }))
}

// openLifeline begins the second exec, if it has not begun. One that fails is
// begun again: the shell works without it, but nobody would hang it up.
func (l *lifeline) openLifeline(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended != nil {
		return
	}

	ctx, l.cancel = context.WithCancel(ctx)
	var stdin *io.PipeReader
	stdin, l.stdin = io.Pipe()
	l.ended, l.hungUp = make(chan struct{}), make(chan struct{})
	exec := kube.ExecRequest{Stdin: stdin, Stdout: io.Discard, Stderr: io.Discard}
	exec.Command = append([]string{l.binary}, wire.EnterArguments{Session: l.enter.Session, Lifeline: true}.Args()...)
	go func() {
		defer close(l.ended)
		l.execUntilDone(ctx, exec)
	}()
}

// execUntilDone runs a command in the shell container, again and again until it
// succeeds or ctx ends. Nobody need be told of a failure. Once the session is to be
// hung up, it tries at once, and hangUpTries times.
func (l *lifeline) execUntilDone(ctx context.Context, exec kube.ExecRequest) {
	hungUp, tries := l.hungUp, 0
	for delay := firstRetryDelay; l.handle.Exec(ctx, exec) != nil && tries < hangUpTries; delay = min(2*delay, maxRetryDelay) {
		if hungUp == nil {
			tries++
		}

		select {
		case <-ctx.Done():
			return
		case <-hungUp:
			hungUp, delay = nil, firstRetryDelay/2
		case <-time.After(delay):
		}
	}
}

// end ends the session in the pod after an exec that returned err, unless the shell has ended by
// itself or was never started. A relay that waits for an answer is ended, too.
func (l *lifeline) end(ctx context.Context, relayWaits bool, err error) {
	var exit *kube.CommandExitError
	var notStarted *kube.NotStartedError
	hasEnded := err == nil || errors.As(err, &exit) || errors.As(err, &notStarted)
	if hasEnded && !relayWaits {
		l.release()
		return
	}
	l.hangUp(ctx)
}

// release lets go after the shell's own end: there is nothing to hang up.
func (l *lifeline) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, timer := range l.timers {
		timer.Stop()
	}
	if l.cancel != nil {
		l.cancel()
	}
}

// hangUp ends the session's processes in the pod and waits until that is done,
// for hangUpTimeout at most.
func (l *lifeline) hangUp(ctx context.Context) {
	l.openLifeline(context.WithoutCancel(ctx))
	l.mu.Lock()
	ended, stdin, cancel := l.ended, l.stdin, l.cancel
	close(l.hungUp)
	l.mu.Unlock()
	_ = stdin.Close()
	defer cancel()
	select {
	case <-ended:
	case <-time.After(hangUpTimeout):
	}
}
