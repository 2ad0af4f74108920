package kube

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	watchtools "k8s.io/client-go/tools/watch"
)

// endNewsTime limits the wait for the news how a container has ended: the kubelet tells the API
// server a second or two later.
const endNewsTime = 3 * time.Second

// DescribeShellEnd says what has ended a shell container or the target beside which it ran: the pod's
// end, or that of one of the two, and the kubelet's reason. It waits a moment for the news. It
// returns "" if there is none.
func (c *Cluster) DescribeShellEnd(ctx context.Context, target TargetContainer, container string) string {
	ctx, cancel := context.WithTimeout(ctx, endNewsTime)
	defer cancel()

	now, err := getObject[corev1.Pod](ctx, c.pods(target.Pod.Namespace), target.Pod.Name)
	switch {
	case isNotFound(err):
		return shellEnd{target, container}.describeDeletion(nil)
	case err != nil:
		return ""
	}

	end := shellEnd{target, container}
	said, certain := end.describe(now)
	if certain {
		return said
	}

	_, _ = watchtools.Until(ctx, now.ResourceVersion, c.podWatcher(now), func(event watch.Event) (bool, error) {
		if event.Type == watch.Deleted {
			said = end.describeDeletion(nil)
			return true, nil
		}

		now, ok := event.Object.(*corev1.Pod)
		if !ok {
			return false, nil
		}
		said, certain = end.describe(now)
		return certain, nil
	})
	return said
}

// shellEnd finds out from a pod's states what has ended a shell.
type shellEnd struct {
	target    TargetContainer
	container string
}

// describe says what has ended a shell by one state of the pod; "" if nothing has. It is not certain
// while the target may turn out to be the cause.
func (e shellEnd) describe(now *corev1.Pod) (said string, certain bool) {
	if now.UID != e.target.Pod.UID || DescribePodEnd(now) != "" {
		return e.describeDeletion(now), true
	}

	if status := findStatus(now, e.target.Container); status != nil {
		if ended := e.findTargetEnd(status); ended != nil {
			said := fmt.Sprintf("container %s of pod %s/%s has ended: %s", e.target.Container, now.Namespace, now.Name, describeTermination(ended))
			if status.State.Running != nil {
				said += "; it has been restarted"
			}
			return said, true
		}
	}

	status := findStatus(now, e.container)
	if status == nil || status.State.Terminated == nil {
		return "", false
	}

	ended := status.State.Terminated
	said = fmt.Sprintf("kdiag's container %s in pod %s/%s has ended: %s", e.container, now.Namespace, now.Name, describeTermination(ended))
	return said, ended.Reason == "OOMKilled" || e.target.SharesPIDs()
}

// findTargetEnd returns how the target that was entered has ended, or nil if it has not.
func (e shellEnd) findTargetEnd(status *corev1.ContainerStatus) *corev1.ContainerStateTerminated {
	same := func(id string) bool { return trimScheme(id) == e.target.ID }
	switch last := status.LastTerminationState.Terminated; {
	case status.State.Terminated != nil && same(status.State.Terminated.ContainerID):
		return status.State.Terminated
	case last != nil && same(last.ContainerID):
		return last
	case status.State.Running != nil && !same(status.ContainerID):
		return &corev1.ContainerStateTerminated{Reason: "the reason is not known any more"}
	}
	return nil
}

// describeDeletion says that the pod ends. now may be nil for one that is gone.
func (e shellEnd) describeDeletion(now *corev1.Pod) string {
	how := "was deleted"
	if now != nil && now.UID == e.target.Pod.UID {
		how = DescribePodEnd(now)
	}
	return fmt.Sprintf("pod %s/%s %s", e.target.Pod.Namespace, e.target.Pod.Name, how)
}

// describeTermination says how a container has ended, in the kubelet's words.
func describeTermination(ended *corev1.ContainerStateTerminated) string {
	code := ""
	if ended.ExitCode != 0 || ended.Reason == "Completed" {
		code = fmt.Sprintf("exit code %d", ended.ExitCode)
	}

	reason := ended.Reason
	switch reason {
	case "OOMKilled":
		reason = "it was killed for lack of memory (OOMKilled)"
	case "Error":
		reason = "" // it only says that the code is not 0
	}
	return joinReason(reason, code)
}
