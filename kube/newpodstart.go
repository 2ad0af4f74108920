package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	watchtools "k8s.io/client-go/tools/watch"
)

// PodStart says which container of a new pod is waited for.
type PodStart struct {
	Container string
	// Progress is told what happens, again and again, and Notice what keeps the pod waiting. Neither
	// is nil.
	Progress, Notice func(string)
}

// podStart waits for a container of a new pod to run.
type podStart struct {
	*Cluster
	PodStart
	doing string
	pulls pullFailures
	// unschedulable is why no node took the pod, as the scheduler said last.
	unschedulable string

	mu sync.Mutex
	// warning is the last warning of the pod's events.
	warning string
}

// AwaitPodStart waits until a container of a new pod runs, and returns the pod as it is then. It goes
// on waiting for a node and for images, which may come, until ctx ends.
func (c *Cluster) AwaitPodStart(ctx context.Context, pod *corev1.Pod, s PodStart) (*corev1.Pod, error) {
	w := &podStart{
		Cluster: c, PodStart: s,
		doing: fmt.Sprintf("start container %s in pod %s/%s", s.Container, pod.Namespace, pod.Name),
		pulls: pullFailures{container: s.Container, notice: s.Notice},
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go w.followPodEvents(ctx, pod, cancel)

	for {
		done, err := w.judgePod(pod)
		if err != nil {
			return nil, w.explainNotStarted(pod, err)
		}
		if done {
			return pod, nil
		}

		if pod, err = w.awaitChange(ctx, pod); err != nil {
			return nil, err
		}
	}
}

// InitFailedError reports that a new pod does not start because of one of its init containers.
type InitFailedError struct {
	Container string
	Err       error
}

func (e *InitFailedError) Error() string { return e.Err.Error() }
func (e *InitFailedError) Unwrap() error { return e.Err }

// judgePod reports whether the container runs, and fails if it will not.
func (w *podStart) judgePod(pod *corev1.Pod) (done bool, err error) {
	if pod.DeletionTimestamp != nil {
		return false, errPodDeleted
	}

	for _, container := range ContainersOf(pod) {
		status := findStatus(pod, container.Name)
		if status == nil || container.Name != w.Container && !container.Init {
			continue
		}
		done, err := w.judgeContainer(status)
		if err != nil && container.Init {
			err = &InitFailedError{container.Name, err}
		}
		if done || err != nil {
			return done, err
		}
	}
	if isFinished(pod) {
		return false, &startError{"", describeEnd(pod)}
	}

	if reason := DescribeUnschedulable(pod); reason != "" && reason != w.unschedulable {
		w.unschedulable = reason
		w.Notice(wire.OneLine(reason) + "; waiting for one")
	}
	return false, nil
}

// judgeContainer does what judgePod does for the container, or an init container before it.
func (w *podStart) judgeContainer(status *corev1.ContainerStatus) (done bool, err error) {
	isTarget := status.Name == w.Container
	switch state := status.State; {
	case state.Running != nil:
		return isTarget, nil
	case state.Terminated != nil && (isTarget || state.Terminated.ExitCode != 0):
		ended := state.Terminated
		return false, &startError{fmt.Sprintf("container %s exited with code %d", status.Name, ended.ExitCode), joinReason(ended.Reason, ended.Message)}
	case state.Waiting != nil && !slices.Contains(startingReasons, state.Waiting.Reason):
		failed := &startError{state.Waiting.Reason, state.Waiting.Message}
		if failed.isPullFailure() {
			w.pulls.note(failed)
			return false, nil
		}
		return false, &startError{"container " + status.Name + ": " + failed.reason, failed.message}
	}
	return false, nil
}

// awaitChange returns the pod in its next state.
func (w *podStart) awaitChange(ctx context.Context, pod *corev1.Pod) (*corev1.Pod, error) {
	event, err := watchtools.Until(ctx, pod.ResourceVersion, w.podWatcher(pod), func(event watch.Event) (bool, error) {
		now, ok := event.Object.(*corev1.Pod)
		switch {
		case event.Type == watch.Deleted, ok && now.UID != pod.UID:
			return false, errPodDeleted
		case event.Type == watch.Error:
			return false, apierrors.FromObject(event.Object)
		}
		return ok && now.ResourceVersion != pod.ResourceVersion, nil
	})

	right := rightGetPods.scopedTo(pod.Namespace, pod.Name)
	switch {
	case err == nil:
		now, _ := event.Object.(*corev1.Pod)
		return now, nil
	case errors.Is(err, errPodDeleted):
		return nil, &Error{Doing: w.doing, Err: err}
	case apierrors.IsGone(err), apierrors.IsResourceExpired(err):
		now, getErr := getObject[corev1.Pod](ctx, w.pods(pod.Namespace), pod.Name)
		return now, w.explainError(ctx, w.doing, right, getErr)
	}

	var late *TimeoutError
	var failed *startError
	switch cause := context.Cause(ctx); {
	case errors.As(cause, &failed):
		return nil, w.explainNotStarted(pod, failed)
	case errors.As(cause, &late):
		return nil, w.explainLate(pod, late)
	}
	return nil, w.explainError(ctx, w.doing, right, err)
}

// explainLate says what kept the container from running in time.
func (w *podStart) explainLate(pod *corev1.Pod, late *TimeoutError) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	said := describeWaiting(pod)
	switch failed := w.pulls.last(); {
	case w.unschedulable != "" && pod.Spec.NodeName == "":
		said = w.unschedulable
	case failed != nil:
		said = "the image was not pulled: " + failed.Error()
	case w.warning != "":
		said += "; the last warning: " + w.warning
	}
	return &Error{Doing: w.doing, Err: fmt.Errorf("%w: %s", late, said)}
}

// explainNotStarted makes the error of a container that will not run.
func (w *podStart) explainNotStarted(pod *corev1.Pod, err error) error {
	var failed *startError
	if !errors.As(err, &failed) {
		return &Error{Doing: w.doing, Err: err}
	}

	next := ""
	switch failed.classify() {
	case neverPulled, badImageName:
		next = "if it is kdiag's image, use another with --image REF"
	case mustNotBeRoot:
		next = "the pod's securityContext wants a user that is not root: set runAsUser there"
	case outOfMemory:
		next = hintForMemory(pod)
	}
	return &Error{Doing: w.doing, Err: err, Next: next}
}

// followPodEvents shows the events of a pod as progress, and remembers the last warning, such as that
// of a volume which cannot be mounted: the pod's status does not tell it.
func (w *podStart) followPodEvents(ctx context.Context, pod *corev1.Pod, end context.CancelCauseFunc) {
	watcher, err := w.events(pod.Namespace).watchObjects(ctx, metav1.ListOptions{
		FieldSelector: fields.Set{"involvedObject.uid": string(pod.UID)}.String(),
	})
	if err != nil {
		return // without the right to it, the status alone tells
	}
	defer watcher.Stop()

	for {
		select {
		case <-ctx.Done():
			return
		case event, open := <-watcher.ResultChan():
			if !open {
				return
			}
			said, ok := event.Object.(*corev1.Event)
			if !ok || event.Type == watch.Deleted {
				continue
			}
			w.noteEvent(said, end)
		}
	}
}

// noteEvent shows an event. One that says that the container failed ends the wait: the pod's status has
// it up to 10 s later.
func (w *podStart) noteEvent(said *corev1.Event, end context.CancelCauseFunc) {
	failed := &startError{"", said.Message}
	ours := said.InvolvedObject.FieldPath == fmt.Sprintf("spec.containers{%s}", w.Container)
	switch {
	case !slices.Contains(failedReasons, said.Reason), strings.HasPrefix(said.Message, "Error: "):
	case failed.isPullFailure():
		w.pulls.note(failed)
	case ours:
		end(&startError{"container " + w.Container, said.Message})
	}

	text := wire.OneLine(joinReason(said.Reason, said.Message))
	if said.Type == corev1.EventTypeWarning {
		w.mu.Lock()
		w.warning = text
		w.mu.Unlock()
	}
	w.Progress(text)
}
