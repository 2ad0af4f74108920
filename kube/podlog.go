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
	"k8s.io/apimachinery/pkg/types"
)

// LogRequest asks for a container's log.
type LogRequest struct {
	Namespace, Pod, Container string
	// UID, unless it is empty, has another pod of that name not be read.
	UID types.UID
	// Follow goes on until the container ends.
	Follow bool
	// Previous reads the log of the instance before the present one.
	Previous bool
	// Since leaves out older lines, in whole seconds, unless it is zero.
	Since time.Time
	// SinceSeconds leaves out lines that are older than that, by the node's clock, unless it
	// is 0.
	SinceSeconds int64
	// Bare leaves out the time of each line.
	Bare bool
	// Tail is how many lines before the end to begin with; nil for all.
	Tail *int64
	// Limit ends the log after so many bytes, unless it is 0.
	Limit int64
}

// operation names the operation and its object, for messages.
func (r LogRequest) operation() string {
	return fmt.Sprintf("read the log of container %s of pod %s/%s", r.Container, r.Namespace, r.Pod)
}

// ErrNoLog reports a container that has no log, or none yet.
var ErrNoLog = errors.New("no log is available")

// ErrNoPod reports a pod that is gone.
var ErrNoPod = errors.New("the pod is gone")

// OpenLog opens a container's log, each line after its time. The caller closes it. The kubelet
// may not answer before there is a line. The error wraps ErrNoLog or ErrNoPod if that is why.
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
	if r.Limit > 0 {
		options.LimitBytes = &r.Limit
	}

	log, err := c.pods(r.Namespace).addressRequest(c.longLived.Get()).Name(r.Pod).SubResource("log").
		VersionedParams(options, c.codec).Stream(ctx)
	if err == nil {
		return c.confirmPod(ctx, r, log), nil
	}

	doing := r.operation()
	switch {
	case context.Cause(ctx) != nil:
		err = &Error{Doing: doing, Err: context.Cause(ctx)}
	case apierrors.IsBadRequest(err):
		// The kubelet answers so while a container waits to start, and if there is no
		// previous instance.
		err = &Error{Doing: doing, Err: fmt.Errorf("%w: %w", ErrNoLog, err)}
	case apierrors.IsNotFound(err):
		err = &Error{Doing: doing, Err: fmt.Errorf("%w: %w", ErrNoPod, err)}
	default:
		err = c.explainError(ctx, doing, rightGetLog.scopedTo(r.Namespace, r.Pod), err)
	}

	return nil, err
}
