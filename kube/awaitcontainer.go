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
	reason := describeNotRunning(pod, status)
	if isBehindInit(status) {
		reason = joinReason(reason, describeAwaitedInit(pod, container))
	}
	return &NotRunningError{fmt.Sprintf(format, reason), isGoingToStart(pod, container, status)}
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
	case isBehindInit(status):
		return isInitOnItsWay(pod, container)
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
		waiting(fmt.Sprintf("%s: %s; %s", named, stopped.reason, describeWait(named)))
	}

	for errors.As(err, &stopped) && stopped.starts {
		now, waitErr := c.awaitStateChange(ctx, pod, name)
		pod, named.Pod = now, now
		if waitErr != nil {
			return TargetContainer{}, c.explainNoStart(ctx, named, waitErr)
		}
		target, err = PickContainer(pod, name)
	}

	return target, err
}

// describeWait says what is waited for, and where the last words are of what has ended before: of the
// container, or of the init container that it waits for.
func describeWait(t TargetContainer) string {
	awaited := TargetContainer{Pod: t.Pod, Container: findAwaitedInit(t.Pod, t.Container)}
	switch {
	case hasEndedBefore(t):
		return "waiting for its next start (what it logged last: " + previousLogCommand(t) + ")"
	case hasEndedBefore(awaited):
		return fmt.Sprintf("waiting for it to start (what %s logged last: %s)", awaited.Container, previousLogCommand(awaited))
	}
	return "waiting for it to start"
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
// then, or as it was last if the wait fails.
func (c *Cluster) awaitStateChange(ctx context.Context, pod *corev1.Pod, name string) (*corev1.Pod, error) {
	last := pod
	_, err := watchtools.Until(ctx, pod.ResourceVersion, c.podWatcher(pod), func(event watch.Event) (bool, error) {
		switch now, ok := event.Object.(*corev1.Pod); {
		case event.Type == watch.Error:
			return false, apierrors.FromObject(event.Object)
		case event.Type == watch.Deleted, ok && now.UID != pod.UID:
			return false, errPodDeleted
		case ok:
			last = now
			var stopped *NotRunningError
			_, err := PickContainer(now, name)
			return !errors.As(err, &stopped) || !stopped.starts, nil
		}
		return false, nil
	})

	if apierrors.IsGone(err) || apierrors.IsResourceExpired(err) {
		now, err := getObject[corev1.Pod](ctx, c.pods(pod.Namespace), pod.Name)
		if err != nil {
			return last, err
		}
		return now, nil
	}
	return last, err
}

// explainNoStart says why the wait for a container's start ended. The target's pod is the last state
// that is known.
func (c *Cluster) explainNoStart(ctx context.Context, target TargetContainer, err error) error {
	doing := "enter " + target.String()
	var late *TimeoutError
	switch {
	case errors.As(context.Cause(ctx), &late):
		stopped := newNotRunningError(target.Pod, target.Container)
		return &Error{Doing: doing, Err: fmt.Errorf("it did not start within %s: %w", late.After, stopped), Next: hintForNoStart(target)}
	case errors.Is(err, errPodDeleted):
		return &Error{Doing: doing, Err: err}
	}
	return c.explainError(ctx, doing, rightWatchPods.scopedTo(target.Pod.Namespace, target.Pod.Name), err)
}

// hintForNoStart says where the last words are of what has kept ending, or else what runs in the pod.
func hintForNoStart(target TargetContainer) string {
	for _, name := range []string{target.Container, findAwaitedInit(target.Pod, target.Container)} {
		if ended := (TargetContainer{Pod: target.Pod, Container: name}); hasEndedBefore(ended) {
			return "see what it logged last: " + previousLogCommand(ended)
		}
	}
	return runningHint(target.Pod, target.Container)
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
