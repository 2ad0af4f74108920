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

// exitMatched is the exit code after a line that --fail-on matched.
const exitMatched = 3

// logsRun is one run of the applet.
type logsRun struct {
	*options
	*follower
	delivery *delivery
	notes    *notes
	terminal bool // whether Ctrl-C reaches the command by itself
	failed   chan error
}

// followLogs follows logs as the options say, with a command or without.
func (o *options) followLogs(ctx context.Context, c *kube.Cluster, streams applets.Streams) error {
	out, closeOut, err := o.openOutput(streams)
	if err != nil {
		return err
	}
	defer closeOut()

	r := &logsRun{
		options: o, failed: make(chan error, 1), notes: &notes{out: streams.Err, quiet: o.quiet},
		terminal: isTerminal(streams.In) || applets.IsTerminal(streams.Err),
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

	// Logs are read on after Ctrl-C, until the command has ended.
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

// oneReadRequest is what is read from each container where nothing is followed.
func (o *options) oneReadRequest() *kube.LogRequest {
	only := &kube.LogRequest{Previous: o.previous}
	if o.tail >= 0 {
		only.Tail = &o.tail
	}
	return only
}

// openOutput is where log lines go: to the file that was named; to stdout, which is
// the result where there is no command; to stderr, where stdout is the
// command's and goes on to some program.
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

// failRun ends the run, once.
func (r *logsRun) failRun(err error) {
	select {
	case r.failed <- err:
	default:
	}
}

func (r *logsRun) noteCrowding(wanted, most int) {
	r.notes.addNote("more logs than --max-streams %d (%d so far): they wait for each other and are read in turns", most, wanted)
}

// awaitReady waits until every line from now on is sure to come.
func (r *logsRun) awaitReady(ctx context.Context, line *statusline.Line) error {
	timeout := time.NewTimer(r.timeout)
	defer timeout.Stop()
	slow := time.NewTimer(time.Second)
	defer slow.Stop()
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
			line.Show("asking the containers how far their logs are")
		case <-bound:
			return applets.WithHint(fmt.Errorf("find out how far the logs are: %w", &kube.TimeoutError{After: r.timeout}),
				"--timeout waits longer than %s", r.timeout)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// followAlone follows until something ends it.
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

// startTimer is the end that --for sets.
func (r *logsRun) startTimer() <-chan time.Time {
	if r.lasting == 0 {
		return nil
	}
	return time.After(r.lasting)
}

// lateError is an error where a line was waited for that did not come.
func (r *logsRun) lateError() error {
	if r.until == nil {
		return nil
	}
	return fmt.Errorf("wait for a line: none matched --until %q within %s", r.until, r.lasting)
}

// withCommand runs the command, follows meanwhile, and drains. What the command
// ends with is an error without a message.
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
		// That line is what the command was to bring about.
		return nil
	case code != 0:
		return &applets.ExitError{Code: code}
	}

	return nil
}

// drainLogs reads on until no line has come for the drain's duration. A Ctrl-C
// from here on ends it; the one that ended the command does not.
func (r *logsRun) drainLogs(ctx context.Context) {
	if r.drain == 0 {
		return
	}

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
			r.notes.addNote("lines still come %s after the command's end (--drain-max)", r.drainMax)
			return
		case <-interrupted:
			return
		}
	}
}

// resultOf is how the run ends: with what --fail-on found, before all else.
func (r *logsRun) resultOf(err error) error {
	first, matches := r.delivery.firstFailure()
	if matches == 0 {
		return err
	}
	if err != nil && !applets.IsSilent(err) && !errors.Is(err, context.Canceled) {
		r.notes.addNote("%v", err)
	}
	r.notes.printLine("kdiag: %d lines match --fail-on %q, the first: %s", matches, r.failOn, first)
	return &applets.ExitError{Code: exitMatched}
}

// endTimeout bounds the wait for goroutines that are done but for a write
// which nobody reads.
const endTimeout = time.Second

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

func isTerminal(in io.Reader) bool {
	file, ok := in.(*os.File)
	return ok && applets.IsTerminal(file)
}
