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

// startWait is a wait for one container to run.
type startWait struct {
	*Cluster
	container string
	progress  func(string)
	// stale is the state of a container that was there before this wait: the
	// kubelet tries again, so it is no verdict.
	stale *corev1.ContainerState
	doing string
}

// waitUntilRunning watches a pod until its container runs. It fails with the
// kubelet's own reason as soon as there is one, when the pod goes, and when
// the node does not answer. A container that is stuck gets the kubelet's next
// try.
func (c *Cluster) waitUntilRunning(ctx context.Context, pod *corev1.Pod, own ownContainer, since <-chan string, progress func(string)) error {
	container := own.Name
	if progress == nil {
		progress = func(string) {}
	}

	w := startWait{
		Cluster: c, container: container, progress: progress,
		doing: fmt.Sprintf("start container %s in pod %s/%s", container, pod.Namespace, pod.Name),
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if own.stuck != "" {
		defer time.AfterFunc(kubeletRetry, func() { cancel(&startError{"", own.stuck}) }).Stop()
	}
	if status := findStatus(pod, container); status != nil {
		w.stale = &status.State
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
			return &Error{Doing: w.doing, Err: err, Next: startHint(pod, container, err)}
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

// waitForChange is the pod in a later state that decides, or as it is now when the
// watch could not go on from where it was.
func (w *startWait) waitForChange(ctx context.Context, pod *corev1.Pod) (*corev1.Pod, error) {
	event, err := watchtools.Until(ctx, pod.ResourceVersion, w.podWatcher(pod), w.decidesOn(pod))
	var failed *startError
	var late *TimeoutError
	switch cause := context.Cause(ctx); {
	case err == nil:
		now, _ := event.Object.(*corev1.Pod)
		return now, nil
	case apierrors.IsGone(err) || apierrors.IsResourceExpired(err):
		now, getErr := getObject[corev1.Pod](ctx, w.pods(pod.Namespace), pod.Name)
		right := getPods.scopedTo(pod.Namespace, pod.Name)
		return now, w.explainError(ctx, w.doing, right, getErr)
	case errors.Is(err, errPodDeleted):
		return nil, &Error{Doing: w.doing, Err: err}
	case errors.Is(cause, errStarted):
		return nil, errStarted
	case errors.As(cause, &failed):
		return nil, &Error{Doing: w.doing, Err: failed, Next: startHint(pod, w.container, failed)}
	case errors.As(cause, &late):
		return nil, &Error{Doing: w.doing, Err: fmt.Errorf("%w: %s", late, w.lastReport(pod)),
			Next: fmt.Sprintf("run 'kubectl describe pod -n %s %s' or 'kubectl describe node %s' for details", pod.Namespace, pod.Name, pod.Spec.NodeName)}
	}

	right := watchPods.scopedTo(pod.Namespace, pod.Name)
	return nil, w.explainError(ctx, w.doing, right, err)
}

// lastReport is what the kubelet said of the container at last.
func (w *startWait) lastReport(pod *corev1.Pod) string {
	if status := findStatus(pod, w.container); status != nil && status.State.Waiting != nil {
		return joinReason(status.State.Waiting.Reason, status.State.Waiting.Message)
	}
	return "the kubelet on node " + pod.Spec.NodeName + " has not reported on it"
}

// nodeCheckDelay is when a wait begins to doubt the node: most containers run
// before that.
const nodeCheckDelay = time.Second

// kubeletRetry is how long the kubelet takes to try again to start a container, at
// the most: 10 s and up to half of that (pkg/kubelet, backOffPeriod and
// workerBackOffPeriodJitterFactor).
const kubeletRetry = 16 * time.Second

// startError is the kubelet's word that a container does not start.
type startError struct{ reason, message string }

func (e *startError) Error() string { return joinReason(e.reason, e.message) }

var errPodDeleted = errors.New("the pod was deleted")

// decidesOn ends a watch on a state of the container that decides.
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

// hasStarted reads the container's state: true when it runs, an error when it
// will not.
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
		return false, &startError{status.State.Waiting.Reason, status.State.Waiting.Message}
	}

	return false, nil
}

// startingReasons are the reasons a kubelet gives for a container that is on
// its way. Any other one is a failure that it retries without an end.
var startingReasons = []string{"", "ContainerCreating", "PodInitializing"}

func (c *Cluster) podWatcher(pod *corev1.Pod) cache.Watcher {
	return &cache.ListWatch{WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
		options.FieldSelector = fields.OneTermEqualSelector("metadata.name", pod.Name).String()
		return c.pods(pod.Namespace).watchObjects(ctx, options)
	}}
}

// checkNodeReady fails when the node's kubelet has stopped reporting. A user who
// may not read nodes is left to the time-out.
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

// errStarted ends a wait when the kubelet says in an event that the container
// has started.
var errStarted = errors.New("started")

// findEventVersion asks from which version on a watch of a namespace's events
// tells what happens from now on. Without one, a watch begins with a list of
// all that is kept, which takes the server longer than a container takes to
// start where there are thousands. It sends nothing when that is not to be had.
func (c *Cluster) findEventVersion(ctx context.Context, namespace string) <-chan string {
	version := make(chan string, 1)
	go func() {
		defer close(version)
		if one, err := listObjects[corev1.EventList](ctx, c.events(namespace), metav1.ListOptions{Limit: 1}); err == nil {
			version <- one.ResourceVersion
		}
	}()
	return version
}

// followEvents reads what the kubelet says about the container: it shows it as
// progress, and ends the wait on a start or a failure. The kubelet writes a
// start into the pod's status up to a second later, when it next lists the
// containers, and a failure 10 s later, when it tries again. Without the right
// to list and watch events the status has to do.
func (w *startWait) followEvents(ctx context.Context, pod *corev1.Pod, since <-chan string, end context.CancelCauseFunc) {
	version, ok := <-since
	if !ok {
		return
	}

	options := metav1.ListOptions{
		FieldSelector:   fields.Set{"involvedObject.uid": string(pod.UID)}.String(),
		ResourceVersion: version,
	}
	watcher, err := w.events(pod.Namespace).watchObjects(ctx, options)
	if err != nil {
		return
	}
	defer watcher.Stop()

	ours := fmt.Sprintf("spec.ephemeralContainers{%s}", w.container)
	for {
		select {
		case <-ctx.Done():
			return
		case event, open := <-watcher.ResultChan():
			if !open {
				return
			}

			said, ok := event.Object.(*corev1.Event)
			switch {
			case !ok || said.InvolvedObject.FieldPath != ours:
			case said.Reason == "Started":
				end(errStarted)
			case slices.Contains(failedReasons, said.Reason):
				end(&startError{"", said.Message})
			default:
				w.dialAhead() // it will not be long
				w.progress(oneLine(said.Message))
			}
		}
	}
}

// failedReasons are the reasons of the kubelet's events about a container that
// it could not start (pkg/kubelet/events).
var failedReasons = []string{"Failed", "ErrImageNeverPull", "InspectFailed", "BackOff"}

// startHint guesses what to do about a container that does not start.
func startHint(pod *corev1.Pod, container string, err error) string {
	var failed *startError
	if !errors.As(err, &failed) {
		return ""
	}

	for i := range pod.Spec.EphemeralContainers {
		if c := &pod.Spec.EphemeralContainers[i]; c.Name == container {
			return fmt.Sprintf("check that %s is a kdiag image and node %s can pull it; use another with --image REF, or make one with 'kdiag image save' or 'kdiag image push'",
				c.Image, pod.Spec.NodeName)
		}
	}

	return ""
}
