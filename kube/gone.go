package kube

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// GoneError reports that a pod, or a container in it, has ended and will not come back.
type GoneError struct {
	// Pod tells the end of the pod from that of one container.
	Pod bool
	err error
}

func (e *GoneError) Error() string { return e.err.Error() }
func (e *GoneError) Unwrap() error { return e.err }

// CheckGone returns a *GoneError if a pod or one of its containers has ended for good. It returns
// nil if both are there, or may be for all that is known.
func (c *Cluster) CheckGone(ctx context.Context, pod *corev1.Pod, container string) error {
	now, err := getObject[corev1.Pod](ctx, c.pods(pod.Namespace), pod.Name)
	switch {
	case isNotFound(err):
		return &GoneError{Pod: true, err: errPodDeleted}
	case err != nil:
		return nil
	case now.UID != pod.UID:
		return &GoneError{Pod: true, err: errors.New("the pod was deleted, and another one has its name")}
	case now.Status.Phase == corev1.PodSucceeded, now.Status.Phase == corev1.PodFailed:
		return &GoneError{Pod: true, err: fmt.Errorf("the pod has finished: %s", describeEnd(now))}
	case !hasEnded(now, container):
		return nil
	case now.DeletionTimestamp != nil:
		return &GoneError{Pod: true, err: errors.New("the pod is being deleted")}
	}

	ended := describeNotRunning(now, findStatus(now, container))
	return &GoneError{err: fmt.Errorf("container %s has ended: %s", container, ended)}
}

// IsAnswer reports whether an error is what the API server said, rather than a network's.
func IsAnswer(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && !isForeign(err)
}
