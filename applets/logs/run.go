package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/statusline"
	"kdiag/kube"
	"kdiag/mux/wire"
)

// exitMatched is the exit code if a line matched --fail-on.
const exitMatched = 3

// logsRun holds the state of one run of the applet.
type logsRun struct {
	*options
	*follower
	delivery *delivery
	outlet   *outlet
	notes    *notes
	terminal bool // whether Ctrl-C reaches the command by itself
	failed   chan error
	jobs     []*awaitedJob // whose end ends the run
}

// followLogs follows logs as the options say, with or without a command.
func (o *options) followLogs(ctx context.Context, c *kube.Cluster, streams applets.Streams) error {
	jobs := o.listAwaitedJobs(c)
	over, err := o.readJobEnds(ctx, jobs)
	if err != nil {
		return err
	}
	if over {
		o = o.readEndedLogs()
	}

	out, closeOut, err := o.openOutput(streams)
	if err != nil {
		return err
	}

	line := statusline.New(streams.Err)
	r := &logsRun{
		options: o, failed: make(chan error, 1), jobs: jobs, notes: newNotes(streams.Err, o.quiet, line),
		terminal: applets.IsTerminal(streams.In) || applets.IsTerminal(streams.Err),
	}
	if err := r.prepareDelivery(out); err != nil {
		return errors.Join(err, closeOut())
	}
	r.prepareFollower(c)
	if o.child != nil {
		// The command goes on when nobody reads the log lines any more.
		catchBrokenPipes()
	}

	// After Ctrl-C, reading goes on until the command has ended.
	reading, stop := context.WithCancel(context.WithoutCancel(ctx))
	if over {
		r.noteJobEnds()
	}
	r.start(reading)
	go r.outlet.writeQueue()

	err = r.awaitReady(ctx, line)
	line.End()
	if err == nil {
		err = r.followToEnd(ctx, reading, over)
	}

	r.stopReading(stop)
	if writeErr := errors.Join(r.finishOutput(ctx), closeOut()); err == nil && o.child == nil {
		err = writeErr
	}
	err = r.resultOf(err)
	r.notes.await(noteWait)

	return err
}

// catchBrokenPipes lets a write to a pipe that nobody reads fail, even to stdout and
// stderr, instead of ending the process. Programs that it starts are not affected.
func catchBrokenPipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// followToEnd follows until the end of the run. Its error is the run's, unless a line
// has matched --fail-on. over means that the jobs are over already, and reading ends
// with the reading of logs.
func (r *logsRun) followToEnd(ctx, reading context.Context, over bool) error {
	switch {
	case over:
		return r.jobResult()
	case r.once:
		return nil
	case r.child != nil:
		return r.withCommand(ctx)
	}
	return r.followAlone(ctx, r.startJobs(reading))
}

func (r *logsRun) prepareFollower(c *kube.Cluster) {
	selections, watchers := r.repeatSelections(c)
	r.follower = &follower{
		cluster: c, selections: selections, watchers: watchers, startPoint: r.options.startPoint,
		slots:   newStreamSlots(r.streams, r.noteCrowding),
		deliver: r.delivery.deliverLine, beginLong: r.delivery.beginLongLine,
		note: r.notes.addNote, fail: r.failRun,
		noteHere: func(format string, args ...any) { r.outlet.queue.addNote(fmt.Sprintf(format, args...)) },
	}
	if r.once {
		r.oneRead = r.oneReadRequest()
	}
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
func (o *options) openOutput(streams applets.Streams) (io.Writer, func() error, error) {
	keep := func() error { return nil }
	switch {
	case o.file != "":
		file, err := os.Create(o.file)
		if err != nil {
			return nil, nil, fmt.Errorf("write the logs: %w", err)
		}
		return file, file.Close, nil
	case o.child == nil || applets.IsTerminal(streams.Out):
		return streams.Out, keep, nil
	}

	return streams.Err, keep, nil
}

// prepareDelivery makes what filters, formats, keeps and writes lines.
func (r *logsRun) prepareDelivery(out io.Writer) error {
	queue := newOutputQueue(queueLimits{memory: queueMemory, file: queueOne, files: queueFiles})
	r.outlet = &outlet{queue: queue, out: out, note: r.noteBetweenLines, broken: r.outputBroken, ended: make(chan struct{})}
	r.delivery = &delivery{
		include: r.include, exclude: r.exclude, failOn: r.failOn, until: r.until,
		queue: queue, failed: make(chan struct{}), reached: make(chan struct{}),
		broken: func(err error) { r.failRun(fmt.Errorf("write the logs: %w", err)) },
	}

	var err error
	r.delivery.format, err = r.newFormat(out)
	return err
}

func (o *options) newFormat(out io.Writer) (formatter, error) {
	paint := painter{on: wantsColour(o.colour, out), terminal: applets.IsTerminal(out), highlight: o.highlight}
	switch {
	case o.template != "":
		return newTemplateFormat(o.template)
	case o.output == "json":
		return formatJSON, nil
	case o.output == "raw":
		return newRawFormat(o.timestamps, paint), nil
	}

	format := newTextFormat(o.timestamps, paint)
	if o.hasManyNamespaces() {
		format = showNamespaces(format)
	}
	return format, nil
}

// hereWait bounds how long lines wait for a note that belongs before them.
const hereWait = 100 * time.Millisecond

// noteBetweenLines prints a note before the next line is written.
func (r *logsRun) noteBetweenLines(text string) {
	r.notes.printNote(text)
	r.notes.await(hereWait)
}

// outputBroken ends the run if lines cannot be written. But a command goes on.
func (r *logsRun) outputBroken(err error) {
	if r.child != nil {
		r.notes.addNote("log lines are not written any more, and the command goes on: %v", err)
		return
	}
	r.failRun(fmt.Errorf("write the logs: %w", err))
}

// finishOutput waits until all lines are written. While a command ran, they are not
// waited for longer than --drain-max without anybody reading them.
func (r *logsRun) finishOutput(ctx context.Context) error {
	patience := time.Duration(0)
	if r.child != nil {
		patience = max(r.drainMax, endTimeout)
	}

	left, err := r.outlet.finish(ctx, patience)
	if left > 0 {
		r.notes.addNote("nobody read the output: %d bytes of log lines were not written", left)
	}
	if err != nil {
		return fmt.Errorf("write the logs: %w", err)
	}

	return nil
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
func (r *logsRun) followAlone(ctx context.Context, jobsOver <-chan struct{}) error {
	select {
	case <-jobsOver:
		return r.finishJobs(ctx)
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
	if r.until == nil || wire.IsClosed(r.delivery.reached) {
		return nil
	}
	return fmt.Errorf("no line matched --until \"%s\" within %s", r.until, r.lasting)
}

// withCommand follows logs while the command runs, and drains them afterwards. The
// command's exit code becomes an error without a message.
func (r *logsRun) withCommand(ctx context.Context) error {
	if err := r.child.start(); err != nil {
		return err
	}

	late, failed := r.awaitCommand(ctx)
	r.drainLogs(ctx)

	code := r.child.exitCode()
	switch {
	case late != nil:
		return late
	case r.child.wasTerminated() && wire.IsClosed(r.delivery.reached):
		// The command was waiting for that line, so it has succeeded.
		return nil
	case code != 0:
		return &applets.ExitError{Code: code}
	}

	return failed
}

// awaitCommand waits until the command has ended. late is set if --until has not matched
// in time, failed if logs could not be read: then the command goes on.
func (r *logsRun) awaitCommand(ctx context.Context) (late, failed error) {
	timer := r.startTimer()
	for {
		select {
		case <-r.child.ended:
		case <-r.delivery.reached:
			r.child.stop()
		case <-timer:
			late = r.lateError()
			r.child.stop()
		case failed = <-r.failed:
			r.notes.addNote("%v; the command goes on", failed)
			continue
		case <-ctx.Done():
			r.child.forwardSignal(ctx, r.terminal)
			<-r.child.ended
		}

		return late, failed
	}
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

	reached, failed := r.endingMatches()
	began, most := time.Now(), time.NewTimer(r.drainMax)
	defer most.Stop()

	for {
		wait := r.drain - r.quietSince(began)
		if wait <= 0 && !r.isBehind(began) {
			return
		}

		select {
		case <-time.After(max(wait, 50*time.Millisecond)):
		case <-most.C:
			r.notes.addNote("stopped reading %s after %s ended (--drain-max), but lines were still coming", r.drainMax, r.describeAwaited())
			return
		case <-interrupted:
			return
		case <-reached:
			return
		case <-failed:
			return
		}
	}
}

// endingMatches returns the channels that are closed when a match of --until or --fail-on ends the
// run at once: nil channels, which never fire, if a command runs.
func (r *logsRun) endingMatches() (reached, failed <-chan struct{}) {
	if r.child != nil {
		return nil, nil
	}
	return r.delivery.reached, r.delivery.failed
}

// quietSince returns how long no line has come, as far as that is after a time.
func (r *logsRun) quietSince(began time.Time) time.Duration {
	if last := time.Unix(0, r.delivery.last.Load()); last.After(began) {
		return time.Since(last)
	}
	return time.Since(began)
}

// describeAwaited names what has ended before the logs are drained.
func (r *logsRun) describeAwaited() string {
	switch {
	case r.child != nil:
		return "the command"
	case len(r.jobs) == 1:
		return r.jobs[0].String()
	}
	return "all Jobs"
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

	r.notes.printLine("kdiag: %s matched --fail-on \"%s\", first: %s", applets.CountOf(matches, "line", "lines"), r.failOn, first)
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
