package shell

import (
	"context"

	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/laptop/temppod"
	"kdiag/kube"
	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
)

// runOnNode makes a pod with all rights on a node and runs a shell in it.
func (t *temporary) runOnNode(ctx context.Context, node string) error {
	if err := t.checkNode(ctx, node); err != nil {
		return containers.AddTimeoutHint(ctx, err)
	}

	request := temppod.NodeRequest{
		Namespace: t.cluster.Namespace, Node: node, Deadline: t.deadline,
		Image: temppod.Image{Name: t.request.Image, PullPolicy: t.request.PullPolicy},
	}
	pod := temppod.BuildNodePod(request)
	t.printPlan(temppod.DescribeNodePod(request, pod, t.keep))

	err := t.lifecycle(wire.Binary).Run(ctx, pod, temppod.NodeContainer, func(ctx context.Context, running *corev1.Pod) error {
		return t.runSession(ctx, running, temppod.NodeContainer, func(s *shellSession) {
			s.enter.Node, s.enter.KeepCapabilities, s.enter.AsTarget = true, true, false
			s.enter.Prompt = "node/" + node
			s.enter.Env = append(s.enter.Env, "HOME=/root")
		})
	})
	return temppod.ExplainRefusedNodePod(err, t.cluster.Namespace)
}

// checkNode fails for a node that is known to take no pod.
func (t *temporary) checkNode(ctx context.Context, node string) error {
	ctx, cancel := kube.WithTimeout(ctx, t.request.Timeout)
	defer cancel()
	return temppod.CheckNode(ctx, t.cluster, node)
}
