package redirectclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"kdiag/kube"
	"kdiag/mux"
	"kdiag/mux/wire"
)

// outage tells of the connection to the pod: once when it is lost, and once when all works again.
type outage struct {
	observer Observer
	grace    time.Duration
	// countOpen and countCut return how many connections are open, and how many of those that were
	// open at the loss were reset.
	countOpen, countCut func() int

	mu       sync.Mutex // held while the observer is told, so that it hears things in their order
	pod      Pod
	stall    stallWatch
	begun    bool // there is something to tell
	renewing bool // there is no session, or its redirects are not there yet
	broken   bool // the session has no connection
	away     bool // the observer was told of a loss
	since    time.Time
	cause    error // of the loss, or why the last attempt to connect failed
	open     int   // connections at the loss
	changed  chan struct{}
}

// begin has the outage tell from now on.
func (o *outage) begin(pod Pod) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pod, o.begun, o.changed = pod, true, make(chan struct{})
}

// connectionLost notes that the session has no connection. Nothing has come for some time.
func (o *outage) connectionLost(cause error, silent time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.broken = true
	o.tellLost(cause, silent)
}

// connectionBack notes that the session has a connection again.
func (o *outage) connectionBack() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.broken = false
	if !o.renewing {
		o.tellBack(false, 0)
	}
}

// sessionEnded notes that the redirects are gone with their session.
func (o *outage) sessionEnded(cause error, silent time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.renewing, o.broken = true, false
	o.tellLost(cause, silent)
}

// renewed notes that the redirects are there again, in another session.
func (o *outage) renewed() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.renewing = false
	if !o.broken {
		o.tellBack(true, o.countCut())
	}
}

// tellLost tells of a loss, unless it was told of. The caller holds mu.
func (o *outage) tellLost(lost error, silent time.Duration) {
	if !o.begun || o.away {
		return
	}

	cause := o.stall.explain(time.Now())
	if cause == nil {
		cause = explainLoss(lost)
	}
	o.away, o.cause, o.since, o.open = true, cause, time.Now().Add(-silent), o.countOpen()
	close(o.changed)
	o.changed = make(chan struct{})
	o.observer.Disconnected(Disconnected{o.pod, o.cause, o.grace})
}

// tellBack tells that all works again. The caller holds mu.
func (o *outage) tellBack(renewed bool, cut int) {
	if !o.away {
		return
	}

	o.away = false
	o.observer.Reconnected(Reconnected{o.pod, time.Since(o.since), max(o.open-cut, 0), cut, renewed})
}

// noteFailure notes why an attempt to connect again has failed.
func (o *outage) noteFailure(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.away {
		o.cause = explainFailure(err)
	}
}

// whenLost returns a channel that is closed at the next loss.
func (o *outage) whenLost() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.changed
}

// Away says since when there is no connection to the pod, and why that is so.
type Away struct {
	Since time.Time
	Cause error
	// renewing says that the manager has given the redirects up.
	renewing bool
}

// read returns nil while all works.
func (o *outage) read() *Away {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.away {
		return nil
	}
	return &Away{o.since, o.cause, o.renewing}
}

// watchStalls notices from now on when this process is stopped, until stop is called.
func (o *outage) watchStalls(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var watching sync.WaitGroup
	watching.Go(func() { o.stall.watch(ctx) })
	return func() { cancel(); watching.Wait() }
}

// explainLoss says in one clause how a connection was lost.
func explainLoss(err error) error {
	var forward *kube.Error
	var silent *mux.SilentError
	switch {
	case errors.Is(err, kube.ErrConnectionLost):
		return kube.ErrConnectionLost
	case errors.As(err, &silent):
		return fmt.Errorf("nothing came from the pod for %s", silent.For)
	case errors.Is(err, mux.ErrPeerEnded):
		return errors.New("the manager ended the session")
	case errors.As(err, &forward):
		return fmt.Errorf("the port-forward ended: %s", describeForward(forward.Err))
	case isEnd(err):
		return errors.New("the port-forward was closed at the pod's end")
	}
	return errors.New(oneClause(err))
}

// explainFailure says in one clause why an attempt to connect again has failed.
func explainFailure(err error) error {
	var forward *kube.Error
	var away *mux.TurnedAwayError
	switch {
	case errors.Is(err, kube.ErrConnectionLost):
		return kube.ErrConnectionLost
	case errors.Is(err, mux.ErrWrongKey):
		return errors.New("the key of what listens at the manager's port is wrong")
	case errors.As(err, &forward):
		return errors.New(describeForward(forward.Err))
	case errors.As(err, &away), isEnd(err):
		return errors.New("the manager closed the connection unanswered")
	}
	return errors.New(oneClause(err))
}

// isEnd reports whether the other side has ended a connection.
func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe)
}

// oneClause returns an error's text without the end of file at its end, which tells a user nothing.
func oneClause(err error) string {
	text := strings.TrimSuffix(err.Error(), ": "+io.EOF.Error())
	return wire.OneLine(strings.TrimSuffix(text, ": "+io.ErrUnexpectedEOF.Error()))
}
