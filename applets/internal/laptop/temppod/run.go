package temppod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"kdiag/applets/internal/laptop/containers"
	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A Watcher ends the pod if this process is killed. *guard.Guard is the real one.
type Watcher interface {
	Add(name string, e containers.Ending)
	Remove(name string)
}

// Lifecycle makes pods and deletes them.
type Lifecycle struct {
	API      API
	Watcher  Watcher
	Messages containers.Messages
	// Timeout bounds the wait for the pod to run.
	Timeout time.Duration
	// Keep leaves the pod.
	Keep bool
	// Discards reports whether a pod that did not start for a reason is deleted though Keep is set, since
	// another one is going to be made; may be nil.
	Discards func(error) bool
	// End is executed in the container to end the pod if the user may not delete it; nil for no way.
	End []string
}

const (
	// createTimeout bounds the creation, which Ctrl-C does not cut short: nobody would know whether there
	// is a pod.
	createTimeout = 30 * time.Second
	// deleteTimeout bounds all attempts to delete the pod.
	deleteTimeout = 10 * time.Second
	// deletePause is the time from one attempt to the next.
	deletePause = 500 * time.Millisecond
)

// Run makes a pod, waits for its container, and calls use with it. However that ends, the pod is deleted,
// unless it is to be kept.
func (l Lifecycle) Run(ctx context.Context, pod *corev1.Pod, container string, use func(context.Context, *corev1.Pod) error) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if !l.Keep {
		// Before it exists: this process may be killed at any moment.
		l.Watcher.Add(pod.Name, containers.Ending{Namespace: pod.Namespace, Pod: pod.Name, DeletesPod: true})
		defer l.Watcher.Remove(pod.Name)
	}

	made, err := l.create(ctx, pod)
	if err != nil {
		return err
	}
	defer func() { l.end(ctx, made, container) }()
	for _, text := range describeAdmitted(pod, made) {
		l.Messages.Notice(text)
	}

	running, err := l.awaitStart(ctx, made, container)
	if err != nil {
		l.Keep = l.Keep && (l.Discards == nil || !l.Discards(err))
		return err
	}
	return use(ctx, running)
}

// create makes the pod. If nobody knows what became of the request, the pod is deleted.
func (l Lifecycle) create(ctx context.Context, pod *corev1.Pod) (*corev1.Pod, error) {
	creating, cancel := kube.WithTimeout(context.WithoutCancel(ctx), createTimeout)
	defer cancel()
	made, err := l.API.CreatePod(creating, pod)
	if err != nil && !kube.IsAccessError(err) && !l.Keep {
		_ = l.delete(ctx, pod, "")
	}
	return made, err
}

// awaitStart waits until the container runs.
func (l Lifecycle) awaitStart(ctx context.Context, pod *corev1.Pod, container string) (*corev1.Pod, error) {
	ctx, cancel := kube.WithTimeout(ctx, l.Timeout)
	defer cancel()
	// Nothing is shown any more once the line is the shell's.
	progress, silence := l.Messages.ProgressUntil()
	defer silence()
	running, err := l.API.AwaitPodStart(ctx, pod, kube.PodStart{Container: container, Progress: progress, Notice: l.Messages.Notice})
	return running, containers.AddTimeoutHint(ctx, err)
}

// end deletes the pod, or says how the user can.
func (l Lifecycle) end(ctx context.Context, pod *corev1.Pod, container string) {
	command := fmt.Sprintf("kubectl delete pod -n %s %s", pod.Namespace, pod.Name)
	if l.Keep {
		l.Messages.Notice(fmt.Sprintf("pod %s stays until its deadline; to delete it: %s", pod.Name, command))
		return
	}

	err := l.delete(ctx, pod, pod.UID)
	switch {
	case err == nil:
	case kube.IsDenied(err) && l.endByExec(ctx, pod, container):
		l.Messages.Notice(describeEnded(pod, container, command))
	default:
		l.Messages.Notice(fmt.Sprintf("pod %s was not deleted, and ends at its deadline: %v; to delete it: %s", pod.Name, err, command))
	}
}

// describeEnded says what has become of a pod one of whose containers was ended from within.
func describeEnded(pod *corev1.Pod, container, command string) string {
	others := slices.DeleteFunc(slices.Clone(pod.Spec.Containers), func(c corev1.Container) bool { return c.Name == container })
	if len(others) == 0 {
		return fmt.Sprintf("pod %s has been ended, but stays listed: you lack the right to delete pods", pod.Name)
	}
	return fmt.Sprintf("container %s of pod %s has been ended, but %s may run until its deadline: you lack the right to delete pods; to delete it: %s",
		container, pod.Name, listNames(others), command)
}

// describeAdmitted says what the cluster's admission has added to a pod by which others may find it, or
// that runs beside the shell.
func describeAdmitted(asked, made *corev1.Pod) (said []string) {
	var labels []string
	for key, value := range made.Labels {
		if _, ok := asked.Labels[key]; !ok {
			labels = append(labels, key+"="+value)
		}
	}
	if len(labels) > 0 {
		slices.Sort(labels)
		said = append(said, fmt.Sprintf("admission gave pod %s labels, by which a Service or a controller may find it: %s", made.Name, strings.Join(labels, ", ")))
	}

	if owners := made.OwnerReferences; len(owners) > 0 {
		said = append(said, fmt.Sprintf("admission gave pod %s an owner, with which it may be deleted: %s %s", made.Name, owners[0].Kind, owners[0].Name))
	}

	known := kube.ContainersOf(asked)
	var added []string
	for _, c := range kube.ContainersOf(made) {
		if !slices.ContainsFunc(known, func(k kube.Container) bool { return k.Name == c.Name }) {
			added = append(added, c.Name)
		}
	}
	if len(added) > 0 {
		said = append(said, fmt.Sprintf("admission added containers to pod %s: %s", made.Name, strings.Join(added, ", ")))
	}
	return said
}

// delete deletes the pod, and tries again for a while.
func (l Lifecycle) delete(ctx context.Context, pod *corev1.Pod, uid types.UID) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTimeout)
	defer cancel()
	for {
		err := l.API.DeletePod(ctx, pod.Namespace, pod.Name, uid)
		if err == nil || kube.IsDenied(err) {
			return err
		}

		select {
		case <-ctx.Done():
			return err
		case <-time.After(deletePause):
		}
	}
}

// endByExec ends the container's first process, and so the pod.
func (l Lifecycle) endByExec(ctx context.Context, pod *corev1.Pod, container string) bool {
	if l.End == nil {
		return false
	}

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTimeout)
	defer cancel()
	stdin, closed := io.Pipe()
	_ = closed.Close()
	err := l.API.Exec(ctx, kube.ExecRequest{
		Namespace: pod.Namespace, Pod: pod.Name, Container: container, Command: l.End,
		Stdin: stdin, Stdout: io.Discard, Stderr: io.Discard, OpenTimeout: deleteTimeout,
	})

	// The container's end may be quicker than the answer.
	var notStarted *kube.NotStartedError
	return err == nil || !errors.As(err, &notStarted)
}
