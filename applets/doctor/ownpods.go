package doctor

import (
	"context"
	"errors"
	"strings"

	"kdiag/applets/internal/laptop/imageconfig"
	"kdiag/applets/internal/laptop/temppod"
	"kdiag/kube"
)

// checkOwnPods checks whether the user may have a shell in a copy of the target, and on a node. Not to
// have them is no failure: most users need neither.
func (e examination) checkOwnPods(ctx context.Context) []Check {
	copied := startPart(func() Check {
		return e.checkOwnPod(ctx, nameCopy, kube.CopyCommand, e.podName(), e.tryCopy)
	})
	node := startPart(func() Check { return e.checkOwnPod(ctx, nameNode, kube.NodeCommand, "", e.tryNodePod) })
	return []Check{<-copied, <-node}
}

// checkOwnPod checks the rights of a command for one pod, or any, and then whether the cluster would
// admit what it makes, which try returns in words.
func (e examination) checkOwnPod(ctx context.Context, name, command, pod string, try func(context.Context) (string, error)) Check {
	review, err := e.cluster.ReviewCommand(ctx, command, pod)
	switch {
	case err != nil:
		return unansweredCheck(name, err)
	case len(review.Lacking) > 0:
		check := unknownCheck(name, "not for you: not allowed to %s in namespace %q", strings.Join(review.Lacking, ", "), e.cluster.Namespace)
		check.Hint = review.Hint()
		return check
	}

	said, err := try(ctx)
	if err != nil {
		return unansweredCheck(name, err)
	}
	return passedCheck(name, "%s; %s", strings.Join(review.Needed, "; "), said)
}

// tryCopy asks by dry run whether the cluster would admit a copy of the target.
func (e examination) tryCopy(ctx context.Context) (string, error) {
	if !e.hasTarget {
		return "whether a copy is admitted shows only with a target", nil
	}

	pod, err := e.cluster.FindPodToCopy(ctx, e.request.Pod)
	if err == nil {
		err = kube.CheckCopyable(pod)
	}
	if err != nil {
		return "", err
	}
	target, _, _, err := kube.ContainerOf(pod, e.request.Container)
	if err != nil {
		return "", err
	}

	plan, err := temppod.PlanCopy(ctx, e.cluster, temppod.CopyRequest{
		Pod: pod, Target: target, Containers: temppod.WithInit, Claims: temppod.ClaimsAuto,
		Image:    temppod.Image{Name: e.request.Image, PullPolicy: e.request.PullPolicy},
		Deadline: temppod.DefaultDeadline,
	}, askNoRegistry)
	if err != nil {
		return "", err
	}
	return "a copy is admitted, and needs no ephemeral container", e.cluster.TryPod(ctx, plan.Pod())
}

// askNoRegistry asks no registry what an image runs: a check of rights does without.
func askNoRegistry(context.Context, string, string, string) (imageconfig.Command, error) {
	return imageconfig.Command{}, errors.New("not asked")
}

// tryNodePod asks by dry run whether the namespace would admit a node's pod.
func (e examination) tryNodePod(ctx context.Context) (string, error) {
	pod := temppod.BuildNodePod(temppod.NodeRequest{
		Namespace: e.cluster.Namespace, Node: "node", Deadline: temppod.DefaultDeadline,
		Image: temppod.Image{Name: e.request.Image, PullPolicy: e.request.PullPolicy},
	})
	err := temppod.ExplainRefusedNodePod(e.cluster.TryPod(ctx, pod), e.cluster.Namespace)
	return "a privileged pod is admitted", err
}
