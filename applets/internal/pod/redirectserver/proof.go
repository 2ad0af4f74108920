package redirectserver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"kdiag/mux"
	"kdiag/netfilter"
)

// proofTimeout bounds a proof. A first packet that was lost is sent again after 1 s.
const proofTimeout = 2 * time.Second

// proveRules shows that the redirect is in force: it sends connections of its own through the
// rules, and wants them here. They reach nobody else, whatever the rules are by now, and count as
// no connection of the redirect's. Unproven says what could not be tried, and why. It may be
// called at any time, on a thread of the pod's network namespace.
func (r *redirectListener) proveRules(ctx context.Context) (unproven string, err error) {
	ctx, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()

	unproven, err = r.proveOnce(ctx)
	if err != nil && ctx.Err() == nil {
		// The kernel may still have led an older connection from the same port elsewhere.
		return r.proveOnce(ctx)
	}
	return unproven, err
}

// proveOnce is one attempt of proveRules.
func (r *redirectListener) proveOnce(ctx context.Context) (unproven string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	rules := r.currentRules()
	trials, err := r.ruleSet.openTrials(rules)
	if err != nil {
		return err.Error(), nil
	}
	defer func() {
		if err := trials.Close(); err != nil {
			r.log.Error("end the proof", "err", err)
		}
	}()

	results := make(chan error, len(trials.List))
	for _, trial := range trials.List {
		go func() { results <- r.awaitTrial(ctx, trial) }()
	}

	// One line tells enough: the others would most likely say the same.
	for range trials.List {
		if failed := <-results; failed != nil && err == nil {
			err = failed
			cancel()
		}
	}

	if err != nil && !slices.Equal(rules, r.currentRules()) {
		return "the redirect was changed meanwhile", nil
	}

	return joinUntried(trials.Untried), err
}

// maxUntried is how many trials that could not be made are told one by one.
const maxUntried = 3

// joinUntried says what could not be tried. A name may have hundreds of addresses.
func joinUntried(untried []string) string {
	if more := len(untried) - maxUntried; more > 0 {
		untried = append(slices.Clone(untried[:maxUntried]), fmt.Sprintf("and %d more", more))
	}
	return strings.Join(untried, "; ")
}

// currentRules returns the rules that are to be in force.
func (r *redirectListener) currentRules() []netfilter.Redirect {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.detached || r.suspended {
		return nil
	}
	return slices.Clone(r.rules)
}

// A trialArrival says where a trial was going when the listener took it, as far as that is known.
type trialArrival struct {
	destination netip.AddrPort
	err         error
}

// awaitTrial makes a trial's connection and waits until the listener has recognized it.
func (r *redirectListener) awaitTrial(ctx context.Context, trial *netfilter.Trial) error {
	arrived := make(chan trialArrival, 1)
	r.expectTrial(trial.Source, arrived)
	defer r.expectTrial(trial.Source, nil)

	err := trial.Connect(ctx)
	if err == nil {
		select {
		case arrival := <-arrived:
			return r.judgeTrial(trial, arrival)
		case <-ctx.Done():
			return r.explainTrial(trial, ctx.Err())
		}
	}

	// The listener resets a trial at once, perhaps before its connection was seen to be made.
	select {
	case arrival := <-arrived:
		return r.judgeTrial(trial, arrival)
	default:
		return r.explainTrial(trial, err)
	}
}

// expectTrial lets the listener recognize a trial by its source, until it has come. With nil nobody waits
// for it any more; but it may be under way still, and must reach nobody else.
func (r *redirectListener) expectTrial(source netip.AddrPort, arrived chan<- trialArrival) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if arrived != nil {
		r.trials[source] = arrived
		return
	}

	if _, expected := r.trials[source]; expected {
		r.trials[source] = nil
		time.AfterFunc(proofTimeout, func() { r.forgetTrial(source) })
	}
}

// forgetTrial forgets a trial that nobody waits for.
func (r *redirectListener) forgetTrial(source netip.AddrPort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if arrived, expected := r.trials[source]; expected && arrived == nil {
		delete(r.trials, source)
	}
}

// recognizeTrial reports whether a connection is a trial, and tells whoever waits for it.
func (r *redirectListener) recognizeTrial(conn *mux.TCP, arrival trialArrival) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.trials) == 0 {
		return false
	}

	source := sourceAddress(conn)
	arrived, expected := r.trials[source]
	if expected {
		delete(r.trials, source)
	}
	if arrived != nil {
		arrived <- arrival
	}

	return expected
}

// judgeTrial wants a trial to have arrived as every redirected connection must.
func (r *redirectListener) judgeTrial(trial *netfilter.Trial, arrival trialArrival) error {
	switch {
	case arrival.err != nil:
		return r.explainTrial(trial, arrival.err)
	case arrival.destination != trial.Destination:
		return r.explainTrial(trial, fmt.Errorf("it came as one to %s", arrival.destination))
	}
	return nil
}

// explainTrial says what a trial that did not arrive means.
func (r *redirectListener) explainTrial(trial *netfilter.Trial, err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("redirect port %d: test it: %w", r.attach.Port, err)
	}

	hint := "other rules in the pod decide about these connections first, or kdiag's rules were removed"
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %v", proofTimeout)
		hint = "other rules in the pod drop these connections, or the pod has too little CPU time"
	}

	return refuseRequest("", hint, "redirect port %d: a test connection to %s did not arrive at kdiag: %v",
		r.attach.Port, trial.Destination, err)
}
