package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// awaitRunning watches a pod until its container runs. It fails with the
// kubelet's own reason as soon as there is one, when the pod goes, and when
// the node does not answer.
func (c *Cluster) awaitRunning(ctx context.Context, pod *corev1.Pod, container string, progress func(string)) (*corev1.Pod, error) {
	if progress == nil {
		progress = func(string) {}
	}
	doing := fmt.Sprintf("start container %s in pod %s/%s", container, pod.Namespace, pod.Name)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	progress("waiting for the kubelet")
	go c.reportEvents(ctx, pod, container, progress)
	go func() {
		if err := c.nodeReady(ctx, pod.Spec.NodeName); err != nil {
			cancel(err)
		}
	}()

	for {
		done, err := startedOrFailed(pod, container)
		if err != nil {
			return nil, &Error{Doing: doing, Err: err, Next: c.startHint(ctx, pod, container)}
		}
		if done {
			return pod, nil
		}
		event, err := watchtools.Until(ctx, pod.ResourceVersion, c.podWatcher(pod), podChanged(pod, container))
		switch {
		case err == nil:
			pod, _ = event.Object.(*corev1.Pod)
		case apierrors.IsGone(err) || apierrors.IsResourceExpired(err):
			// The watch fell behind; start again from the present.
			if pod, err = c.pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{}); err != nil {
				return nil, c.explain(ctx, doing, access{verb: "get", resource: "pods", namespace: c.Namespace}, err)
			}
		case errors.Is(err, errPodDeleted):
			return nil, &Error{Doing: doing, Err: err}
		default:
			failure := c.explain(ctx, doing, access{verb: "watch", resource: "pods", namespace: pod.Namespace}, err)
			var timedOut *TimeoutError
			if errors.As(context.Cause(ctx), &timedOut) {
				failure = &Error{Doing: doing, Err: timedOut,
					Next: fmt.Sprintf("the kubelet of node %s has not started it; kubectl describe pod -n %s %s", pod.Spec.NodeName, pod.Namespace, pod.Name)}
			}
			return nil, failure
		}
	}
}

var errPodDeleted = errors.New("the pod was deleted meanwhile")

// podChanged ends a watch on a state of the container that decides.
func podChanged(was *corev1.Pod, container string) watchtools.ConditionFunc {
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
		if now.UID != was.UID || now.DeletionTimestamp != nil && was.DeletionTimestamp == nil {
			return false, errPodDeleted
		}
		done, err := startedOrFailed(now, container)
		return done || err != nil, nil
	}
}

// startedOrFailed reads a container's state: true when it runs, an error when
// it will not.
func startedOrFailed(pod *corev1.Pod, container string) (bool, error) {
	if pod.DeletionTimestamp != nil {
		return false, errPodDeleted
	}
	status := statusOf(pod, container)
	switch {
	case status == nil:
		return false, nil
	case status.State.Running != nil:
		return true, nil
	case status.State.Terminated != nil:
		return false, errors.New(whyNotRunning(pod, status))
	case status.State.Waiting != nil && !slices.Contains(startingReasons, status.State.Waiting.Reason):
		return false, errors.New(joinReason(status.State.Waiting.Reason, status.State.Waiting.Message))
	}
	return false, nil
}

// startingReasons are the reasons a kubelet gives for a container that is on
// its way. Any other one is a failure that it retries without an end.
var startingReasons = []string{"", "ContainerCreating", "PodInitializing"}

func (c *Cluster) podWatcher(pod *corev1.Pod) cache.Watcher {
	return &cache.ListWatch{WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
		options.FieldSelector = fields.OneTermEqualSelector("metadata.name", pod.Name).String()
		return c.pods(pod.Namespace).Watch(ctx, options)
	}}
}

// nodeReady fails when the node's kubelet has stopped reporting. A user who
// may not read nodes is left to the time-out.
func (c *Cluster) nodeReady(ctx context.Context, name string) error {
	node, err := c.nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	for i := range node.Status.Conditions {
		condition := &node.Status.Conditions[i]
		if condition.Type == corev1.NodeReady && condition.Status != corev1.ConditionTrue {
			return fmt.Errorf("node %s is not ready: %s", name, joinReason(condition.Reason, condition.Message))
		}
	}
	return nil
}

// reportEvents passes on what the kubelet says about a container. Without the
// right to read events there is nothing to pass on.
func (c *Cluster) reportEvents(ctx context.Context, pod *corev1.Pod, container string, progress func(string)) {
	selector := fields.Set{"involvedObject.uid": string(pod.UID)}.AsSelector().String()
	watcher, err := c.events(pod.Namespace).Watch(ctx, metav1.ListOptions{FieldSelector: selector})
	if err != nil {
		return
	}
	defer watcher.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case event, ok := <-watcher.ResultChan():
			if !ok {
				return
			}
			said, isEvent := event.Object.(*corev1.Event)
			if isEvent && said.InvolvedObject.FieldPath == fmt.Sprintf("spec.ephemeralContainers{%s}", container) {
				progress(oneLine(said.Message))
			}
		}
	}
}

// startHint guesses what to do about a container that does not start.
func (c *Cluster) startHint(_ context.Context, pod *corev1.Pod, container string) string {
	status := statusOf(pod, container)
	if status == nil {
		return ""
	}
	image := status.Image
	switch {
	case status.State.Waiting != nil && slices.Contains(imageReasons, status.State.Waiting.Reason):
		return fmt.Sprintf("can the node pull %s? give another with --image, or load it: kdiag image save, kdiag image push", image)
	case status.State.Terminated != nil || status.State.Waiting != nil:
		return fmt.Sprintf("is %s a kdiag image? kubectl logs -n %s %s -c %s", image, pod.Namespace, pod.Name, container)
	}
	return ""
}

var imageReasons = []string{
	"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull",
	"ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed",
}
