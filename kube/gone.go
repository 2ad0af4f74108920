package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// GoneError reports that a pod, or a container in it, has ended and will not come back.
type GoneError struct {
	// Pod tells the end of the pod from that of one container.
	Pod    bool
	reason string
}

func (e *GoneError) Error() string { return e.reason }

// CheckGone returns a *GoneError if a pod or one of its containers has ended for good. It returns
// nil if both are there, or may be for all that is known.
func (c *Cluster) CheckGone(ctx context.Context, pod *corev1.Pod, container string) error {
	now, err := getObject[corev1.Pod](ctx, c.pods(pod.Namespace), pod.Name)
	switch {
	case isNotFound(err):
		return NewGoneError(true, errPodDeleted.Error())
	case err != nil:
		return nil //nolint:nilerr // then nobody knows
	case now.UID != pod.UID:
		return NewGoneError(true, "the pod was deleted, and another one has its name")
	case now.Status.Phase == corev1.PodSucceeded, now.Status.Phase == corev1.PodFailed:
		return NewGoneError(true, "the pod has finished: "+describeEnd(now))
	case !hasEnded(now, container):
		return nil
	case now.DeletionTimestamp != nil:
		return NewGoneError(true, "the pod is being deleted")
	}

	ended := describeNotRunning(now, findStatus(now, container))
	return NewGoneError(false, fmt.Sprintf("container %s has ended: %s", container, ended))
}

// IsAnswer reports whether an error is what the API server said, rather than a network's.
func IsAnswer(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && !isForeign(err)
}

// MayPass reports whether a request that failed with an error may succeed later: the network is to
// blame, the API server is busy or restarting, or the user has to log in again.
func MayPass(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || isForeign(err) {
		return true
	}
	code := status.Status().Code
	return code >= http.StatusInternalServerError || code == http.StatusTooManyRequests || code == http.StatusUnauthorized
}

// NewGoneError makes the error of a pod, or a container, that has ended for a reason.
func NewGoneError(pod bool, reason string) *GoneError {
	return &GoneError{pod, reason}
}
