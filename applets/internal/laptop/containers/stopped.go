package containers

import (
	"context"
	"errors"
	"fmt"

	"kdiag/applets"
	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
)

// stoppedDescriber is an API that may know about a container that does not run.
type stoppedDescriber interface {
	DescribeStopped(ctx context.Context, pod *corev1.Pod, name string) (kube.StoppedContainer, bool)
}

// noteStopped says at once what is known of a target that does not run, the first time that the handle
// meets one: the wait for its next start may be long.
func (s *Shell) noteStopped(ctx context.Context, pod *corev1.Pod) {
	describer, ok := s.api.(stoppedDescriber)
	if !ok || s.toldStopped {
		return
	}

	stopped, ok := describer.DescribeStopped(ctx, pod, s.request.Container)
	if !ok {
		return
	}
	s.toldStopped = true

	s.messages.Note(fmt.Sprintf("%s does not run: %s", stopped.TargetContainer, stopped.Facts))
	if stopped.LogErr != nil {
		s.messages.Note(fmt.Sprintf("its last words can't be shown: %v", stopped.LogErr))
	}
	for _, line := range stopped.LastWords {
		s.messages.Note("it logged: " + line)
	}
	if s.request.HasCopy && stopped.Restarts {
		s.messages.Note(fmt.Sprintf("to look around while it does not run: %s", copyCommand(stopped.TargetContainer)))
	}
}

// hintCopy adds to the error of a target that does not run that a copy of its pod can be entered, where
// the command can make one.
func (s *Shell) hintCopy(pod *corev1.Pod, err error) error {
	var stopped *kube.NotRunningError
	if !s.request.HasCopy || !errors.As(err, &stopped) {
		return err
	}

	target := kube.TargetContainer{Pod: pod, Container: s.request.Container}
	return applets.WithHint(err, "enter a copy of the pod in which the container waits: %s", copyCommand(target))
}

// hintCopyInstead adds to the error of a user who may add no container to the pod that a copy of it takes
// other rights, where the command can make one. Whether the user has those is not known.
func (s *Shell) hintCopyInstead(err error) error {
	if !s.request.HasCopy || !kube.IsInjectDenied(err) {
		return err
	}
	return applets.WithHint(err, "if you may create pods, enter a copy of the pod in which the container waits: %s", copyCommand(s.target))
}

// copyCommand returns the command that enters a copy of a pod.
func copyCommand(target kube.TargetContainer) string {
	command := fmt.Sprintf("kubectl kdiag shell -n %s %s", target.Pod.Namespace, target.Pod.Name)
	if target.Container != "" {
		command += " -c " + target.Container
	}
	return command + " --copy"
}
