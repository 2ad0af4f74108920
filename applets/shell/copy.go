package shell

import (
	"context"
	"fmt"
	"strings"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/laptop/imageconfig"
	"kdiag/applets/internal/laptop/temppod"
	"kdiag/kube"
	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
)

// runInCopy makes a copy of a pod and runs a shell in it.
func (t *temporary) runInCopy(ctx context.Context, inv *applets.Invocation) error {
	plan, container, err := t.planCopy(ctx, inv)
	if err != nil {
		return containers.AddTimeoutHint(ctx, err)
	}

	t.printPlan(plan.Describe(t.keep))
	err = t.runCopy(ctx, plan, container)
	if plan.MayLackImageVolume(ctx, err) {
		plan = plan.WithoutImageVolume()
		t.messages.Note(fmt.Sprintf("the image volume does not work: %s; creating pod %s with an init container instead", wire.OneLine(err.Error()), plan.Pod().Name))
		err = t.runCopy(ctx, plan, container)
	}
	return plan.ExplainFailure(err)
}

// planCopy finds the pod and its container, and plans the copy. It changes nothing.
func (t *temporary) planCopy(ctx context.Context, inv *applets.Invocation) (*temppod.Copy, string, error) {
	ctx, cancel := kube.WithTimeout(ctx, t.request.Timeout)
	defer cancel()

	pod, err := t.cluster.FindPodToCopy(ctx, t.request.Pod)
	if err == nil {
		err = kube.CheckCopyable(pod)
	}
	if err != nil {
		return nil, "", err
	}

	target, _, others, err := kube.ContainerOf(pod, t.request.Container)
	if err != nil {
		return nil, "", err
	}
	if len(others) > 0 {
		t.messages.Note(fmt.Sprintf("using container %s; the pod also has: %s (choose one with -c)", target.Name, strings.Join(others, ", ")))
	}

	read := func(ctx context.Context, image, imageID, arch string) (imageconfig.Command, error) {
		t.line.Show("asking the registry what " + image + " runs")
		return imageconfig.ReadCommand(ctx, image, imageID, arch, inv.UserAgent())
	}
	plan, err := temppod.PlanCopy(ctx, t.cluster, temppod.CopyRequest{
		Pod: pod, Target: target,
		Containers: temppod.CopyContainers(inv.Flags.String("copy-containers")),
		Claims:     temppod.ClaimChoice(inv.Flags.String("copy-claims")),
		Image:      temppod.Image{Name: t.request.Image, PullPolicy: t.request.PullPolicy},
		Deadline:   t.deadline,
	}, read)
	t.line.Clear()
	return plan, target.Name, err
}

// runCopy makes the copy and runs a shell in it.
func (t *temporary) runCopy(ctx context.Context, plan *temppod.Copy, container string) error {
	pod := plan.Pod()
	lifecycle := t.lifecycle(wire.CopyBinary)
	lifecycle.Discards = func(err error) bool { return plan.MayLackImageVolume(ctx, err) }
	return lifecycle.Run(ctx, pod, container, func(ctx context.Context, running *corev1.Pod) error {
		t.line.Clear()
		if plan.KnowsCommand() {
			t.messages.Note(fmt.Sprintf(`to run the container's command: eval "$%s"`, wire.CommandVariable))
		}
		if t.keep {
			t.messages.Note("another shell in it: " + otherShellCommand(running, container))
		}
		return t.runSession(ctx, running, container, func(s *shellSession) {
			s.binary, s.enter.Here, s.enter.TargetEnv = wire.CopyBinary, true, copyEnv
			s.enter.AsTarget = false
		})
	})
}

// copyEnv has a shell in a copy take all variables: they are the container's own, and its command must
// find what it would find.
var copyEnv = []string{"all"}

// otherShellCommand returns the command that opens a shell in a copy as kdiag's own is.
func otherShellCommand(pod *corev1.Pod, container string) string {
	enter := strings.Join(wire.EnterArguments{Here: true, TargetEnv: copyEnv}.Args(), " ")
	return fmt.Sprintf("kubectl exec -it -n %s %s -c %s -- %s %s", pod.Namespace, pod.Name, container, wire.CopyBinary, strings.TrimSuffix(enter, " --"))
}
