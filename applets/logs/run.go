package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/statusline"
	"kdiag/kube"
)

// exitMatched is the exit code if a line matched --fail-on.
const exitMatched = 3

// logsRun holds the state of one run of the applet.
type logsRun struct {
	*options
	*follower
	delivery *delivery
	notes    *notes
	terminal bool // whether Ctrl-C reaches the command by itself
	failed   chan error
}

// followLogs follows logs as the options say, with or without a command.
func (o *options) followLogs(ctx context.Context, c *kube.Cluster, streams applets.Streams) error {
	out, closeOut, err := o.openOutput(streams)
	if err != nil {
		return err
	}
	defer closeOut()

	r := &logsRun{
		options: o, failed: make(chan error, 1), notes: &notes{out: streams.Err, quiet: o.quiet},
		terminal: applets.IsTerminal(streams.In) || applets.IsTerminal(streams.Err),
	}
	if r.delivery, err = o.newDelivery(out, r.failRun); err != nil {
		return err
	}

	r.follower = &follower{
		cluster: c, selections: o.selections, startPoint: o.startPoint,
		slots:   newStreamSlots(o.streams, r.noteCrowding),
		deliver: r.delivery.deliverLine, note: r.notes.addNote, fail: r.failRun,
	}
	if o.once {
		r.oneRead = o.oneReadRequest()
	}

	// After Ctrl-C, reading goes on until the command has ended.
	reading, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer r.stopReading(stop)

	line := statusline.New(streams.Err)
	r.notes.line = line
	r.start(reading)
	err = r.awaitReady(ctx, line)
	line.End()

	switch {
	case err != nil:
		return err
	case o.once:
		return r.resultOf(nil)
	case o.child != nil:
		return r.resultOf(r.withCommand(ctx))
	}

	return r.resultOf(r.followAlone(ctx))
}

// oneReadRequest returns the request for each container if nothing is followed.
func (o *options) oneReadRequest() *kube.LogRequest {
	only := &kube.LogRequest{Previous: o.previous}
	if o.tail >= 0 {
		only.Tail = &o.tail
	}
	return only
}

// openOutput returns where log lines go: to the file of --logs-to, else to stdout.
// But if a command runs and stdout is no terminal, they go to stderr: some program
// reads the command's output from stdout.
func (o *options) openOutput(streams applets.Streams) (io.Writer, func(), error) {
	switch {
	case o.file != "":
		file, err := os.Create(o.file)
		if err != nil {
			return nil, nil, fmt.Errorf("write the logs: %w", err)
		}
		return file, func() { _ = file.Close() }, nil
	case o.child == nil || applets.IsTerminal(streams.Out):
		return streams.Out, func() {}, nil
	}

	return streams.Err, func() {}, nil
}

func (o *options) newDelivery(out io.Writer, broken func(error)) (*delivery, error) {
	d := &delivery{
		include: o.include, exclude: o.exclude, failOn: o.failOn, until: o.until,
		sink: newSink(out), failed: make(chan struct{}), reached: make(chan struct{}),
		broken: func(err error) { broken(fmt.Errorf("write the logs: %w", err)) },
	}

	var err error
	paint := painter{on: wantsColour(o.colour, out), highlight: o.highlight}
	switch {
	case o.template != "":
		d.format, err = newTemplateFormat(o.template)
	case o.output == "json":
		d.format = formatJSON
	case o.output == "raw":
		d.format = newRawFormat(o.timestamps, paint)
	default:
		d.format = newTextFormat(o.timestamps, paint)
	}

	return d, err
}

// failRun ends the run with the first error.
func (r *logsRun) failRun(err error) {
	select {
	case r.failed <- err:
	default:
	}
}

func (r *logsRun) noteCrowding(wanted, most int) {
	r.notes.addNote("%d logs to follow, but --max-streams is %d: they take turns", wanted, most)
}

// awaitReady waits until no line from now on can be missed.
func (r *logsRun) awaitReady(ctx context.Context, line *statusline.Line) error {
	timeout := time.NewTimer(r.timeout)
	defer timeout.Stop()
	slow := time.NewTimer(time.Second)
	defer slow.Stop()

	// Reading once may take as long as the logs are.
	bound := timeout.C
	if r.once {
		bound = nil
	}

	for {
		select {
		case <-r.ready:
			select {
			case err := <-r.failed:
				return err
			default:
				return nil
			}
		case err := <-r.failed:
			return err
		case <-slow.C:
			line.Show("finding the end of each log")
		case <-bound:
			return applets.WithHint(fmt.Errorf("find the end of each log: %w", &kube.TimeoutError{After: r.timeout}),
				"use --timeout to wait longer than %s", r.timeout)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// followAlone follows logs until something ends the run.
func (r *logsRun) followAlone(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case err := <-r.failed:
		return err
	case <-r.delivery.failed:
	case <-r.delivery.reached:
	case <-r.startTimer():
		return r.lateError()
	}

	return nil
}

// startTimer returns a channel that fires when --for has passed.
func (r *logsRun) startTimer() <-chan time.Time {
	if r.lasting == 0 {
		return nil
	}
	return time.After(r.lasting)
}

// lateError returns an error if --until has not matched in time.
func (r *logsRun) lateError() error {
	if r.until == nil {
		return nil
	}
	return fmt.Errorf("no line matched --until %q within %s", r.until, r.lasting)
}

// withCommand follows logs while the command runs, and drains them afterwards. The
// command's exit code becomes an error without a message.
func (r *logsRun) withCommand(ctx context.Context) error {
	if err := r.child.start(); err != nil {
		return err
	}

	var late, failed error
	select {
	case <-r.child.ended:
	case <-r.delivery.reached:
		r.child.stop()
	case <-r.startTimer():
		late = r.lateError()
		r.child.stop()
	case failed = <-r.failed:
		r.child.stop()
	case <-ctx.Done():
		r.child.forwardSignal(ctx, r.terminal)
		<-r.child.ended
	}

	if failed != nil {
		return failed
	}

	r.drainLogs(ctx)

	code := r.child.exitCode()
	switch {
	case late != nil:
		return late
	case r.child.wasTerminated() && isClosed(r.delivery.reached):
		// The command was waiting for that line, so it has succeeded.
		return nil
	case code != 0:
		return &applets.ExitError{Code: code}
	}

	return nil
}

// drainLogs waits until no line has come for --drain-duration. A Ctrl-C from here
// on ends it, but the one that ended the command does not.
func (r *logsRun) drainLogs(ctx context.Context) {
	if r.drain == 0 {
		return
	}

	// A nil channel never fires.
	interrupted := ctx.Done()
	if ctx.Err() != nil {
		interrupted = nil
	}

	began, most := time.Now(), time.NewTimer(r.drainMax)
	defer most.Stop()

	for {
		last := time.Unix(0, r.delivery.last.Load())
		if last.Before(began) {
			last = began
		}

		wait := r.drain - time.Since(last)
		if wait <= 0 && !r.isBehind(began) {
			return
		}

		select {
		case <-time.After(max(wait, 50*time.Millisecond)):
		case <-most.C:
			r.notes.addNote("stopped reading %s after the command (--drain-max), but lines were still coming", r.drainMax)
			return
		case <-interrupted:
			return
		}
	}
}

// resultOf returns the result of the run. A match of --fail-on outranks err.
func (r *logsRun) resultOf(err error) error {
	first, matches := r.delivery.firstFailure()
	if matches == 0 {
		return err
	}
	if err != nil && !applets.IsSilent(err) && !errors.Is(err, context.Canceled) {
		r.notes.addNote("%v", err)
	}

	r.notes.printLine("kdiag: %s matched --fail-on %q, first: %s", applets.CountOf(matches, "line", "lines"), r.failOn, first)
	return &applets.ExitError{Code: exitMatched}
}

// endTimeout bounds the wait for goroutines that may hang in a write which nobody
// reads.
const endTimeout = time.Second

// stopReading stops the follower and waits for its goroutines.
func (r *logsRun) stopReading(stop func()) {
	stop()

	ended := make(chan struct{})
	go func() {
		r.running.Wait()
		close(ended)
	}()

	select {
	case <-ended:
	case <-time.After(endTimeout):
	}
}
