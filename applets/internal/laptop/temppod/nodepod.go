package temppod

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kdiag/applets"
	"kdiag/kube"
	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// NodeRequest says on which node a pod is made.
type NodeRequest struct {
	Namespace, Node string
	Image           Image
	Deadline        time.Duration
}

// NodeContainer is the name of the container of a node's pod.
const NodeContainer = "kdiag"

// nodeVolume is the name of the volume that has the node's file system.
const nodeVolume = "host"

// CheckNode fails if a node is known not to exist, not to be Linux, or not to respond. Without the right
// to read it, the pod shows.
func CheckNode(ctx context.Context, api API, name string) error {
	node, err := api.ReadNode(ctx, name)
	switch {
	case kube.IsDenied(err):
		return nil
	case err != nil:
		return err
	case node.Labels[corev1.LabelOSStable] == string(corev1.Windows):
		return fmt.Errorf("open a shell on node %s: kdiag does not support Windows nodes", name)
	}

	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status != corev1.ConditionTrue {
			return applets.WithHint(fmt.Errorf("open a shell on node %s: it is not ready: %s: %s", name, condition.Reason, condition.Message),
				"its kubelet starts no pods; use another way to it, such as ssh")
		}
	}
	return nil
}

// BuildNodePod returns the pod that has all rights on a node. It is bound to the node by name, so that no
// scheduler is asked: a node that is cordoned, full or tainted takes it as well.
func BuildNodePod(r NodeRequest) *corev1.Pod {
	held := wire.HoldArguments{Deadline: r.Deadline}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: newName("node", r.Node), Namespace: r.Namespace,
			Annotations: map[string]string{"kdiag/shell-on": r.Node},
		},
		Spec: corev1.PodSpec{
			NodeName: r.Node, HostPID: true, HostNetwork: true, HostIPC: true,
			RestartPolicy: corev1.RestartPolicyNever, ActiveDeadlineSeconds: seconds(r.Deadline),
			TerminationGracePeriodSeconds: new(gracePeriod),
			AutomountServiceAccountToken:  new(false), EnableServiceLinks: new(false),
			Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Volumes:     []corev1.Volume{{Name: nodeVolume, VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}}},
			Containers: []corev1.Container{{
				Name: NodeContainer, Image: r.Image.Name, ImagePullPolicy: r.Image.PullPolicy,
				Command:         append([]string{wire.Binary}, held.Args()...),
				VolumeMounts:    []corev1.VolumeMount{{Name: nodeVolume, MountPath: wire.NodeRoot}},
				SecurityContext: &corev1.SecurityContext{Privileged: new(true), RunAsUser: new(int64(0)), RunAsNonRoot: new(false), ReadOnlyRootFilesystem: new(true)},
			}},
		},
	}
}

// DescribeNodePod says what is going to be made, as Copy.Describe does.
func DescribeNodePod(r NodeRequest, pod *corev1.Pod, keep bool) []string {
	return []string{
		fmt.Sprintf("creating privileged pod %s/%s on node %s:", pod.Namespace, pod.Name, r.Node),
		"shell:     root on the node, in the mount namespace of its first process; it can change anything there",
		"shares:    the node's processes, network, IPC and file system; it tolerates all taints",
		"kdiag:     " + r.Image.Name,
		describeEnding(r.Deadline.String(), keep),
	}
}

// ExplainRefusedNodePod adds to the error of a pod that was refused what the namespace must admit. One that
// was made and did not start has another reason.
func ExplainRefusedNodePod(err error, namespace string) error {
	var explained *kube.Error
	var late *kube.TimeoutError
	if !errors.As(err, &explained) || kube.IsDenied(err) || explained.Next == "" || kube.IsNotStarted(err) || errors.As(err, &late) {
		return err
	}
	return applets.WithHint(err, "namespace %q may not admit privileged pods: choose one that does with -n "+
		"(kubectl get ns -L pod-security.kubernetes.io/enforce)", namespace)
}
