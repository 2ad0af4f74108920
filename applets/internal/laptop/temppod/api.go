package temppod

import (
	"context"

	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// API is what this package asks of the cluster. *kube.Cluster is the real one.
type API interface {
	CreatePod(ctx context.Context, pod *corev1.Pod) (*corev1.Pod, error)
	TryPod(ctx context.Context, pod *corev1.Pod) error
	DeletePod(ctx context.Context, namespace, name string, uid types.UID) error
	AwaitPodStart(ctx context.Context, pod *corev1.Pod, s kube.PodStart) (*corev1.Pod, error)
	ReadClaim(ctx context.Context, namespace, name string) (*corev1.PersistentVolumeClaim, error)
	ListClaimUsers(ctx context.Context, namespace, claim string) ([]corev1.Pod, error)
	ReadNode(ctx context.Context, name string) (*corev1.Node, error)
	ReadServerVersion(ctx context.Context) (version string, minor int, err error)
	MayDeletePods(ctx context.Context, namespace string) bool
	Exec(ctx context.Context, e kube.ExecRequest) error
}
