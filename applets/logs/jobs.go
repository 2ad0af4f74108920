package logs

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"kdiag/applets"
	"kdiag/kube"
	"kdiag/mux/wire"
)

// jobCluster has the methods of a kube.Cluster that tell of Jobs.
type jobCluster interface {
	ReadJobEnd(ctx context.Context, name string) (*kube.JobEnd, error)
	AwaitJobEnd(ctx context.Context, name string) *kube.JobEnd
}

// awaitedJob is a Job whose end ends the run.
type awaitedJob struct {
	jobCluster
	namespace, name string
	end             *kube.JobEnd // nil until it is over
}

func (j *awaitedJob) String() string { return "job/" + j.name }

// parseExitCodeFrom reads the Job whose success is to be the exit code.
func (o *options) parseExitCodeFrom(inv *applets.Invocation) error {
	target := inv.Flags.String("exit-code-from")
	if target == "" {
		return nil
	}

	kind, name, typed := strings.Cut(target, "/")
	if !typed {
		kind, name = "job", target
	}
	resource, _ := kube.ParseResource(kind)

	switch {
	case resource != "jobs" || name == "":
		return applets.Usage("--exit-code-from must be a Job, as in job/NAME, got %q", target)
	case inv.Rest != nil:
		return applets.Usage("--exit-code-from can't be combined with a command, whose code is the exit code")
	case o.once:
		return applets.Usage("--exit-code-from can't be combined with --previous or --follow=false")
	case len(o.namespaces) > 1 || slices.Contains(o.namespaces, ""):
		return applets.Usage("--exit-code-from needs one namespace")
	}

	o.exitCodeFrom = name
	return nil
}

// listAwaitedJobs returns the Jobs whose end ends the run: that of --exit-code-from, or all
// targets if they are Jobs.
func (o *options) listAwaitedJobs(c *kube.Cluster) []*awaitedJob {
	if o.once || o.child != nil {
		return nil
	}

	namespaces := o.namespaces
	if len(namespaces) == 0 {
		namespaces = []string{c.Namespace}
	}

	var jobs []*awaitedJob
	for _, namespace := range namespaces {
		in := c.InNamespace(namespace)
		if o.exitCodeFrom != "" {
			return []*awaitedJob{{jobCluster: in, namespace: namespace, name: o.exitCodeFrom}}
		}
		for _, s := range o.selections {
			if s.pods.Kind != "jobs" {
				return nil
			}
			jobs = append(jobs, &awaitedJob{jobCluster: in, namespace: namespace, name: s.pods.Name})
		}
	}

	return jobs
}

// readJobEnds reads which Jobs are over already, and reports whether all are. It fails if one does
// not exist.
func (o *options) readJobEnds(ctx context.Context, jobs []*awaitedJob) (over bool, err error) {
	ctx, cancel := kube.WithTimeout(ctx, o.timeout)
	defer cancel()

	over = len(jobs) > 0
	for _, j := range jobs {
		if j.end, err = j.ReadJobEnd(ctx, j.name); err != nil {
			return false, err
		}
		over = over && j.end != nil
	}
	return over, nil
}

// readEndedLogs has the logs read once, from the beginning unless the user says otherwise.
func (o *options) readEndedLogs() *options {
	ended := *o
	ended.once = true
	if !o.tailGiven {
		ended.tail = -1
	}
	return &ended
}

// startJobs waits for the Jobs that are not over. The channel is closed when all are; it is nil
// if there are none.
func (r *logsRun) startJobs(ctx context.Context) <-chan struct{} {
	if len(r.jobs) == 0 {
		return nil
	}

	over := make(chan struct{})
	r.running.Go(func() {
		for _, j := range r.jobs {
			if j.end == nil {
				j.end = j.AwaitJobEnd(ctx, j.name)
			}
			if j.end == nil {
				return // ctx has ended
			}
		}
		close(over)
	})
	return over
}

// finishJobs drains the logs after the end of the Jobs, and returns the result. A Ctrl-C
// meanwhile ends the run, as at any other time.
func (r *logsRun) finishJobs(ctx context.Context) error {
	r.drainLogs(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}

	r.noteJobEnds()
	return r.jobResult()
}

// noteJobEnds says how the Jobs have ended.
func (r *logsRun) noteJobEnds() {
	for _, j := range r.jobs {
		r.notes.addNote("%s %s", j, j.end.Text)
	}
}

// jobResult returns the result of a run that the end of its Jobs has ended. A match of --until
// outranks how they ended: the line came before their end, whichever is heard of first.
func (r *logsRun) jobResult() error {
	if r.until != nil && !wire.IsClosed(r.delivery.reached) {
		return fmt.Errorf("no line matched --until %q before %s ended", r.until, r.jobs[0])
	}
	if r.until == nil && r.exitCodeFrom != "" && !r.jobs[0].end.Succeeded {
		return &applets.ExitError{Code: 1}
	}
	return nil
}
