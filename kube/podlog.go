package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// LogRequest is one reading of a container's log.
type LogRequest struct {
	Namespace, Pod, Container string
	// Follow goes on until the container ends.
	Follow bool
	// Previous reads the instance before the present one.
	Previous bool
	// Since leaves out what is older, in whole seconds; zero leaves out nothing.
	Since time.Time
	// SinceSeconds leaves out what is older than so many seconds, by the node's
	// clock; 0 leaves out nothing.
	SinceSeconds int64
	// Bare leaves out the lines' times.
	Bare bool
	// Tail is how many lines to begin before the end; nil for all.
	Tail *int64
}

// operation is what is tried, for messages.
func (r LogRequest) operation() string {
	return fmt.Sprintf("read the log of container %s of pod %s/%s", r.Container, r.Namespace, r.Pod)
}

// ErrNoLog is a container that has no log, or none yet.
var ErrNoLog = errors.New("no log is available")

// ErrNoPod is a pod that is not there any more.
var ErrNoPod = errors.New("the pod is gone")

// OpenLog opens a container's log, each line after its time. It is the caller's
// to close. The kubelet may not answer before the first line. The error is
// ErrNoLog or ErrNoPod, wrapped, where that is why.
func (c *Cluster) OpenLog(ctx context.Context, r LogRequest) (io.ReadCloser, error) {
	options := &corev1.PodLogOptions{
		Container: r.Container, Follow: r.Follow, Previous: r.Previous,
		Timestamps: !r.Bare, TailLines: r.Tail,
	}
	if !r.Since.IsZero() {
		since := metav1.NewTime(r.Since)
		options.SinceTime = &since
	}

	if r.SinceSeconds > 0 {
		options.SinceSeconds = &r.SinceSeconds
	}

	log, err := c.pods(r.Namespace).addressRequest(c.longLived.Get()).Name(r.Pod).SubResource("log").
		VersionedParams(options, c.codec).Stream(ctx)
	if err == nil {
		return log, nil
	}

	doing := r.operation()
	switch {
	case context.Cause(ctx) != nil:
		err = &Error{Doing: doing, Err: context.Cause(ctx)}
	case apierrors.IsBadRequest(err):
		// The kubelet's answer while a container waits to start, and for a
		// previous one that never was.
		err = &Error{Doing: doing, Err: fmt.Errorf("%w: %w", ErrNoLog, err)}
	case apierrors.IsNotFound(err):
		err = &Error{Doing: doing, Err: fmt.Errorf("%w: %w", ErrNoPod, err)}
	default:
		err = c.explainError(ctx, doing, getLog.scopedTo(r.Namespace, r.Pod), err)
	}

	return nil, err
}
