package kube

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// InNamespace returns a Cluster that works in another namespace, or in all of them for "".
func (c *Cluster) InNamespace(namespace string) *Cluster {
	return &Cluster{Namespace: namespace, clients: c.clients, streams: c.streams, entries: c.entries}
}

// JobEnd says how a Job has ended.
type JobEnd struct {
	Succeeded bool
	// Text follows the Job's name: "has completed", "has failed (BackoffLimitExceeded: …)".
	Text string
}

// A jobState is what is known of a Job.
type jobState struct {
	uid     types.UID
	version string
	end     *JobEnd // nil while it is not over
}

// ReadJobEnd returns how a Job has ended, or nil if it is not over.
func (c *Cluster) ReadJobEnd(ctx context.Context, name string) (*JobEnd, error) {
	job, err := c.readJob(ctx, name)
	if isNotFound(err) {
		return nil, &Error{Doing: "find job/" + name, Err: err, Next: fmt.Sprintf("kubectl get jobs -n %s", c.Namespace)}
	}
	if err != nil {
		return nil, c.explainError(ctx, "find job/"+name, rightGetJobs.scopedTo(c.Namespace, name), err)
	}
	return job.end, nil
}

// rightGetJobs reads whether a Job is over.
var rightGetJobs = accessRight{verb: "get", group: "batch", resource: "jobs"}

// AwaitJobEnd waits until a Job is over, or deleted, and returns how it ended. It returns nil if
// ctx ends first. Whatever is in the way of a watch, it reads the Job again and again.
func (c *Cluster) AwaitJobEnd(ctx context.Context, name string) *JobEnd {
	var first types.UID
	for ctx.Err() == nil {
		job, err := c.readJob(ctx, name)
		switch {
		case isNotFound(err):
			return &JobEnd{Text: "was deleted"}
		case err == nil && first != "" && job.uid != first:
			return &JobEnd{Text: "was deleted, and another one has its name"}
		case err == nil && job.end != nil:
			return job.end
		case err == nil:
			first = job.uid
			c.awaitJobChange(ctx, name, job.version)
		}

		pauseFor(ctx, jobPause)
	}
	return nil
}

// jobPause is the pause between two looks at a Job.
const jobPause = 500 * time.Millisecond

// awaitJobChange returns when a Job is over or gone, or when it cannot be watched any more.
func (c *Cluster) awaitJobChange(ctx context.Context, name, version string) {
	changes, err := resource{c.batch, c.codec, "jobs", c.Namespace}.watchObjects(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String(), ResourceVersion: version,
	})
	if err != nil {
		return // it is read again
	}
	defer changes.Stop()

	for event := range changes.ResultChan() {
		job, ok := event.Object.(*batchv1.Job)
		if !ok || event.Type == watch.Deleted || describeJobEnd(job) != nil {
			return
		}
	}
}

func pauseFor(ctx context.Context, pause time.Duration) {
	select {
	case <-time.After(pause):
	case <-ctx.Done():
	}
}

func (c *Cluster) readJob(ctx context.Context, name string) (jobState, error) {
	job, err := getObject[batchv1.Job](ctx, resource{c.batch, c.codec, "jobs", c.Namespace}, name)
	if err != nil {
		return jobState{}, err
	}
	return jobState{job.UID, job.ResourceVersion, describeJobEnd(job)}, nil
}

// describeJobEnd returns how a Job has ended, or nil if it is not over.
func describeJobEnd(job *batchv1.Job) *JobEnd {
	for _, condition := range job.Status.Conditions {
		if condition.Status != corev1.ConditionTrue {
			continue
		}
		switch condition.Type {
		case batchv1.JobComplete:
			return &JobEnd{Succeeded: true, Text: "has completed"}
		case batchv1.JobFailed:
			return &JobEnd{Text: withDetail("has failed", joinReason(condition.Reason, condition.Message))}
		}
	}
	return nil
}
