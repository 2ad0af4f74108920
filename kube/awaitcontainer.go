package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"
	watchtools "k8s.io/client-go/tools/watch"
)

// NotRunningError reports a container that does not run.
type NotRunningError struct {
	reason string
	// starts says that the kubelet is going to start it.
	starts bool
}

func (e *NotRunningError) Error() string { return e.reason }

// newNotRunningError says why a container does not run.
func newNotRunningError(pod *corev1.Pod, container string) *NotRunningError {
	status := findStatus(pod, container)
	format := "the container is not running: %s"
	if pod.DeletionTimestamp != nil {
		format = "the container is not running, and its pod is terminating: %s"
	}
	return &NotRunningError{fmt.Sprintf(format, describeNotRunning(pod, status)), isGoingToStart(pod, container, status)}
}

// aboutToStart lists the reasons that a kubelet gives for a container that it is going to start
// without anybody's help. With any other reason it tries again, too, but nothing says that it will
// fare better.
var aboutToStart = []string{"", "ContainerCreating", "CrashLoopBackOff"}

// isGoingToStart reports whether the kubelet is going to start a container that does not run. The
// status may be nil.
func isGoingToStart(pod *corev1.Pod, container string, status *corev1.ContainerStatus) bool {
	switch {
	case pod.DeletionTimestamp != nil, isFinished(pod), findEphemeral(pod, container) != nil, status == nil:
		return false
	case status.State.Waiting != nil:
		return slices.Contains(aboutToStart, status.State.Waiting.Reason)
	case status.State.Terminated != nil:
		return isRestarted(pod, container, status.State.Terminated.ExitCode)
	}
	return false
}

// isRestarted reports whether the kubelet restarts a container that has ended with a code.
func isRestarted(pod *corev1.Pod, name string, code int32) bool {
	policy := pod.Spec.RestartPolicy
	container, isInit := findInSpec(pod, name)
	if container == nil {
		return false
	}

	// A container may have a policy of its own (KEP-753, KEP-5307).
	if container.RestartPolicy != nil {
		policy = corev1.RestartPolicy(*container.RestartPolicy)
	}
	if slices.ContainsFunc(container.RestartPolicyRules, func(r corev1.ContainerRestartRule) bool { return asksForRestart(r, code) }) {
		return true
	}

	isSidecar := container.RestartPolicy != nil && policy == corev1.RestartPolicyAlways
	switch {
	case policy == corev1.RestartPolicyNever:
		return false
	case policy == corev1.RestartPolicyOnFailure, isInit && !isSidecar:
		return code != 0
	}
	return true
}

// asksForRestart reports whether a rule has a container with an exit code restarted.
func asksForRestart(rule corev1.ContainerRestartRule, code int32) bool {
	if rule.Action != corev1.ContainerRestartRuleActionRestart || rule.ExitCodes == nil {
		return false
	}
	listed := slices.Contains(rule.ExitCodes.Values, code)
	return listed == (rule.ExitCodes.Operator == corev1.ContainerRestartRuleOnExitCodesOpIn)
}

// findInSpec finds a container in a pod's spec, but no ephemeral one, and reports whether it is
// an init container.
func findInSpec(pod *corev1.Pod, name string) (container *corev1.Container, isInit bool) {
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == name {
			return &pod.Spec.Containers[i], false
		}
	}
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == name {
			return &pod.Spec.InitContainers[i], true
		}
	}
	return nil, false
}

// AwaitContainer does what PickContainer does, and waits for a container that the kubelet is going
// to start, as it does again and again with one that crashes. Waiting is told of such a wait once.
func (c *Cluster) AwaitContainer(ctx context.Context, pod *corev1.Pod, name string, waiting func(string)) (TargetContainer, error) {
	target, err := PickContainer(pod, name)
	var stopped *NotRunningError
	named := TargetContainer{Pod: pod, Container: name}
	if name == "" {
		named.Container, _ = pickDefaultContainer(pod)
	}
	if errors.As(err, &stopped) && stopped.starts {
		text := fmt.Sprintf("%s: %s; waiting for its next start", named, stopped.reason)
		if hasEndedBefore(named) {
			text += " (what it logged last: " + previousLogCommand(named) + ")"
		}
		waiting(text)
	}

	for errors.As(err, &stopped) && stopped.starts {
		now, waitErr := c.awaitStateChange(ctx, pod, name)
		if waitErr != nil {
			return TargetContainer{}, c.explainNoStart(ctx, named, err, waitErr)
		}
		pod = now
		target, err = PickContainer(pod, name)
	}

	return target, err
}

// hasEndedBefore reports whether a container has run and ended.
func hasEndedBefore(t TargetContainer) bool {
	status := findStatus(t.Pod, t.Container)
	return status != nil && (status.RestartCount > 0 || status.LastTerminationState.Terminated != nil || status.State.Terminated != nil)
}

// previousLogCommand returns the command that shows what a container logged before it ended.
func previousLogCommand(t TargetContainer) string {
	return fmt.Sprintf("kubectl kdiag logs -n %s %s -c %s --previous", t.Pod.Namespace, t.Pod.Name, t.Container)
}

// awaitStateChange waits until a container runs, or is not going to, and returns the pod as it is
// then.
func (c *Cluster) awaitStateChange(ctx context.Context, pod *corev1.Pod, name string) (*corev1.Pod, error) {
	event, err := watchtools.Until(ctx, pod.ResourceVersion, c.podWatcher(pod), func(event watch.Event) (bool, error) {
		switch now, ok := event.Object.(*corev1.Pod); {
		case event.Type == watch.Error:
			return false, apierrors.FromObject(event.Object)
		case event.Type == watch.Deleted, ok && now.UID != pod.UID:
			return false, errPodDeleted
		case ok:
			var stopped *NotRunningError
			_, err := PickContainer(now, name)
			return !errors.As(err, &stopped) || !stopped.starts, nil
		}
		return false, nil
	})

	switch {
	case err == nil:
		now, _ := event.Object.(*corev1.Pod)
		return now, nil
	case apierrors.IsGone(err), apierrors.IsResourceExpired(err):
		return getObject[corev1.Pod](ctx, c.pods(pod.Namespace), pod.Name)
	}
	return nil, err
}

// explainNoStart says why the wait for a container's start ended. was is why it did not run.
func (c *Cluster) explainNoStart(ctx context.Context, target TargetContainer, was, err error) error {
	doing := "enter " + target.String()
	var late *TimeoutError
	var stopped *NotRunningError
	switch {
	case errors.As(context.Cause(ctx), &late) && errors.As(was, &stopped):
		failed := &Error{Doing: doing, Err: fmt.Errorf("it did not start within %s: %w", late.After, stopped), Next: describePodHint(target.Pod)}
		if hasEndedBefore(target) {
			failed.Next = "see what it logged last: " + previousLogCommand(target)
		}
		return failed
	case errors.Is(err, errPodDeleted):
		return &Error{Doing: doing, Err: err}
	}
	return c.explainError(ctx, doing, rightWatchPods.scopedTo(target.Pod.Namespace, target.Pod.Name), err)
}

// TargetChanged reports whether a target has ended since it was found, or has been started anew. It
// waits for the news, which the API server has a second or two late. It returns false for a pod that
// is gone or terminating, and if it cannot find out.
func (c *Cluster) TargetChanged(ctx context.Context, target TargetContainer, wait time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()

	changed := func(pod *corev1.Pod) bool {
		now, err := PickContainer(pod, target.Container)
		var stopped *NotRunningError
		return err == nil && now.ID != target.ID || errors.As(err, &stopped) && stopped.starts
	}

	pod, err := getObject[corev1.Pod](ctx, c.pods(target.Pod.Namespace), target.Pod.Name)
	if err != nil || pod.UID != target.Pod.UID || pod.DeletionTimestamp != nil {
		return false
	}
	if changed(pod) {
		return true
	}

	_, err = watchtools.Until(ctx, pod.ResourceVersion, c.podWatcher(pod), func(event watch.Event) (bool, error) {
		now, ok := event.Object.(*corev1.Pod)
		if event.Type == watch.Deleted || ok && now.DeletionTimestamp != nil {
			return false, errPodDeleted
		}
		return ok && changed(now), nil
	})
	return err == nil
}
