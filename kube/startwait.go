package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// startWait waits for one container to run.
type startWait struct {
	*Cluster
	container string
	progress  func(string)
	// stale is the container's state before the wait, if it was there already. It decides
	// nothing, because the kubelet tries again.
	stale *corev1.ContainerState
	doing string
	pulls pullFailures
}

// waitUntilRunning watches a pod until its container runs. It fails as soon as the kubelet gives
// a reason, the pod is deleted, or the node is found not to be ready. For a stuck container, it
// waits for the kubelet's next attempt, and for an image that was not pulled until ctx ends: the
// kubelet goes on trying. since is the version of the namespace's events to begin from.
func (c *Cluster) waitUntilRunning(ctx context.Context, request containerRequest, pod *corev1.Pod, own ownContainer, since <-chan string) error {
	container, progress := own.Name, request.progress
	if progress == nil {
		progress = func(string) {}
	}

	w := startWait{
		Cluster: c, container: container, progress: progress,
		doing: fmt.Sprintf("start container %s in pod %s/%s", container, pod.Namespace, pod.Name),
		pulls: pullFailures{container: container, notice: request.notice},
	}
	if status := findStatus(pod, container); status != nil {
		w.stale = &status.State
	}

	// Whatever else decides the wait cancels ctx with the reason as its cause.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stuck := &startError{"", own.stuck}
	switch {
	case stuck.isPullFailure():
		w.pulls.noteKnown(stuck)
	case own.stuck != "":
		defer time.AfterFunc(kubeletRetry, func() { cancel(stuck) }).Stop()
	}

	progress("waiting for the kubelet on node " + pod.Spec.NodeName)
	go w.followEvents(ctx, pod, since, cancel)
	defer time.AfterFunc(nodeCheckDelay, func() {
		if err := c.checkNodeReady(ctx, pod.Spec.NodeName); err != nil {
			cancel(err)
		}
	}).Stop()

	for {
		done, err := w.hasStarted(pod)
		if err != nil {
			return w.explainFailure(ctx, pod, err)
		}
		if done {
			return nil
		}

		if pod, err = w.waitForChange(ctx, pod); err != nil {
			if errors.Is(err, errStarted) {
				return nil
			}
			return err
		}
	}
}

// waitForChange returns the pod in a later state, which decides whether the container has started,
// or in its present state if the watch has to begin anew. It returns errStarted if an event says
// that the container has started.
func (w *startWait) waitForChange(ctx context.Context, pod *corev1.Pod) (*corev1.Pod, error) {
	event, err := watchtools.Until(ctx, pod.ResourceVersion, w.podWatcher(pod), w.decidesOn(pod))
	switch {
	case err == nil:
		now, _ := event.Object.(*corev1.Pod)
		return now, nil
	case apierrors.IsGone(err) || apierrors.IsResourceExpired(err):
		now, getErr := getObject[corev1.Pod](ctx, w.pods(pod.Namespace), pod.Name)
		right := rightGetPods.scopedTo(pod.Namespace, pod.Name)
		return now, w.explainError(ctx, w.doing, right, getErr)
	}

	return nil, w.explainEndOfWatch(ctx, pod, err)
}

// explainEndOfWatch says why the watch of a pod ended before the container ran. It returns
// errStarted as it is.
func (w *startWait) explainEndOfWatch(ctx context.Context, pod *corev1.Pod, err error) error {
	var failed *startError
	var late *TimeoutError
	switch cause := context.Cause(ctx); {
	case errors.Is(err, errPodDeleted):
		return &Error{Doing: w.doing, Err: err}
	case errors.Is(cause, errStarted):
		return errStarted
	case errors.As(cause, &failed):
		return w.explainFailure(ctx, pod, failed)
	case errors.As(cause, &late) && w.pulls.last() != nil:
		return w.explainPullFailure(ctx, pod, late)
	case errors.As(cause, &late):
		return &Error{Doing: w.doing, Err: fmt.Errorf("%w: %s", late, w.lastReport(pod)),
			Next: fmt.Sprintf("run 'kubectl describe pod -n %s %s' or 'kubectl describe node %s' for details", pod.Namespace, pod.Name, pod.Spec.NodeName)}
	}

	return w.explainError(ctx, w.doing, rightWatchPods.scopedTo(pod.Namespace, pod.Name), err)
}

// lastReport returns what the kubelet last said about the container.
func (w *startWait) lastReport(pod *corev1.Pod) string {
	if status := findStatus(pod, w.container); status != nil && status.State.Waiting != nil {
		return joinReason(status.State.Waiting.Reason, status.State.Waiting.Message)
	}

	return "the kubelet on node " + pod.Spec.NodeName + " has not reported on it"
}

// nodeCheckDelay is how long a wait goes on before it checks the node. Most containers run by
// then.
const nodeCheckDelay = time.Second

// kubeletRetry limits how long the kubelet takes until it tries again to start a container: 10 s
// and up to half of that (pkg/kubelet, backOffPeriod and workerBackOffPeriodJitterFactor).
const kubeletRetry = 16 * time.Second

// startError reports that a container does not start, in the kubelet's words.
type startError struct{ reason, message string }

func (e *startError) Error() string { return joinReason(e.reason, e.message) }

// IsNotStarted reports whether a container did not start, by the kubelet's account.
func IsNotStarted(err error) bool {
	var failed *startError
	return errors.As(err, &failed)
}

// errPodDeleted reports that the pod is gone, or another one has its name.
var errPodDeleted = errors.New("the pod was deleted")

// decidesOn returns the condition that ends a watch: a state of the container that decides the
// wait.
func (w *startWait) decidesOn(was *corev1.Pod) watchtools.ConditionFunc {
	return func(event watch.Event) (bool, error) {
		switch event.Type {
		case watch.Deleted:
			return false, errPodDeleted
		case watch.Error:
			return false, apierrors.FromObject(event.Object)
		}

		now, ok := event.Object.(*corev1.Pod)
		if !ok {
			return false, nil
		}
		if now.UID != was.UID {
			return false, errPodDeleted
		}

		done, err := w.hasStarted(now)
		return done || err != nil, nil
	}
}

// hasStarted reports whether the container runs, by the pod's status. It returns an error if the
// container will not start.
func (w *startWait) hasStarted(pod *corev1.Pod) (bool, error) {
	if pod.DeletionTimestamp != nil {
		return false, errPodDeleted
	}

	status := findStatus(pod, w.container)
	switch {
	case status == nil:
		return false, nil
	case status.State.Running != nil:
		return true, nil
	case w.stale != nil && equality.Semantic.DeepEqual(*w.stale, status.State):
		return false, nil
	case status.State.Terminated != nil:
		ended := status.State.Terminated
		return false, &startError{fmt.Sprintf("it exited with code %d", ended.ExitCode), joinReason(ended.Reason, ended.Message)}
	case status.State.Waiting != nil && !slices.Contains(startingReasons, status.State.Waiting.Reason):
		return w.judge(&startError{status.State.Waiting.Reason, status.State.Waiting.Message})
	}

	return false, nil
}

// judge returns a failure as the error that ends the wait, unless it is an image that was not pulled
// yet: the kubelet tries that again.
func (w *startWait) judge(failed *startError) (done bool, err error) {
	if failed.isPullFailure() {
		w.pulls.note(failed)
		return false, nil
	}
	return false, failed
}

// startingReasons lists the reasons that a kubelet gives while a container is starting. Any other
// reason is a failure, although the kubelet tries again for ever.
var startingReasons = []string{"", "ContainerCreating", podInitializing}

// podWatcher watches a single pod.
func (c *Cluster) podWatcher(pod *corev1.Pod) cache.Watcher {
	return &cache.ListWatch{WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
		options.FieldSelector = fields.OneTermEqualSelector("metadata.name", pod.Name).String()
		return watchSelectedPods(ctx, c.pods(pod.Namespace), options, pod)
	}}
}

// checkNodeReady returns an error if the node's kubelet has stopped reporting. It returns nil
// if the user may not read nodes: the timeout ends the wait then.
func (c *Cluster) checkNodeReady(ctx context.Context, name string) error {
	node, err := getObject[corev1.Node](ctx, c.nodes(), name)
	if err != nil {
		node = &corev1.Node{}
	}

	for i := range node.Status.Conditions {
		condition := &node.Status.Conditions[i]
		if condition.Type == corev1.NodeReady && condition.Status != corev1.ConditionTrue {
			return fmt.Errorf("node %s is not ready: %s", name, joinReason(condition.Reason, condition.Message))
		}
	}

	return nil
}
