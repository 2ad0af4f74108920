package kube

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The rights that a pod of kdiag's own takes.
var (
	rightCreatePods = accessRight{verb: "create", resource: "pods"}
	rightDeletePods = accessRight{verb: "delete", resource: "pods"}
)

// CreatePod makes a pod, and returns what the cluster made of it. The error has the cluster's words.
func (c *Cluster) CreatePod(ctx context.Context, pod *corev1.Pod) (*corev1.Pod, error) {
	made, err := createObject(ctx, c.pods(pod.Namespace), pod)
	if err != nil {
		return nil, c.explainCreate(ctx, pod, err)
	}
	return made, nil
}

// TryPod asks by dry run whether the cluster would make a pod. Its error is a *RefusedError if
// admission refuses it, and any other one says nothing about that.
func (c *Cluster) TryPod(ctx context.Context, pod *corev1.Pod) error {
	made := &corev1.Pod{}
	request := resource{c.dryRun, c.codec, "pods", pod.Namespace}
	err := decodeAnswer(request.addressRequest(c.dryRun.Post()).Param("dryRun", metav1.DryRunAll).Body(pod).Do(ctx), made)
	if err == nil {
		return nil
	}

	explained := c.explainCreate(ctx, pod, err)
	if by := readRefuser(err); by != byNobody && !IsDenied(explained) && !apierrors.IsUnauthorized(err) {
		return &RefusedError{explained}
	}
	return explained
}

// explainCreate says why a pod was not made.
func (c *Cluster) explainCreate(ctx context.Context, pod *corev1.Pod, err error) error {
	doing := fmt.Sprintf("create pod %s/%s", pod.Namespace, pod.Name)
	return c.explainError(ctx, doing, rightCreatePods.scopedTo(pod.Namespace, ""), err)
}

// DeletePod deletes a pod. One that is gone is no error, nor one that has its name but another UID;
// an empty UID stands for any.
func (c *Cluster) DeletePod(ctx context.Context, namespace, name string, uid types.UID) error {
	options := &metav1.DeleteOptions{}
	if uid != "" {
		options.Preconditions = &metav1.Preconditions{UID: &uid}
	}

	pods := c.pods(namespace)
	err := pods.addressRequest(pods.client.Delete()).Name(name).Body(options).Do(ctx).Error()
	if err == nil || isNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return c.explainError(ctx, fmt.Sprintf("delete pod %s/%s", namespace, name), rightDeletePods.scopedTo(namespace, name), err)
}

// MayDeletePods asks the API server whether this user may delete pods of a namespace. It returns false
// if it gets no answer.
func (c *Cluster) MayDeletePods(ctx context.Context, namespace string) bool {
	return c.isAllowed(ctx, rightDeletePods.scopedTo(namespace, ""))
}

// ReadClaim reads a PersistentVolumeClaim of a namespace. Not every user may.
func (c *Cluster) ReadClaim(ctx context.Context, namespace, name string) (*corev1.PersistentVolumeClaim, error) {
	const kind = "persistentvolumeclaims"
	claim, err := getObject[corev1.PersistentVolumeClaim](ctx, resource{c.core, c.codec, kind, namespace}, name)
	if err != nil {
		right := accessRight{verb: "get", resource: kind, namespace: namespace, name: name}
		return nil, c.explainError(ctx, "read PersistentVolumeClaim "+name, right, err)
	}
	return claim, nil
}

// ListClaimUsers lists the pods of a namespace that use a PersistentVolumeClaim and have not ended.
func (c *Cluster) ListClaimUsers(ctx context.Context, namespace, claim string) ([]corev1.Pod, error) {
	list, err := listObjects[corev1.PodList](ctx, c.pods(namespace), metav1.ListOptions{})
	if err != nil {
		return nil, c.explainError(ctx, "find pods that use PersistentVolumeClaim "+claim, rightListPods.scopedTo(namespace, ""), err)
	}
	return slices.DeleteFunc(list.Items, func(pod corev1.Pod) bool {
		return isFinished(&pod) || !slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
			return v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == claim
		})
	}), nil
}

// ContainerOf returns a container of a pod's spec, but no ephemeral one, and whether it is an init
// container. An empty name stands for the pod's default container, and others lists what else could
// be meant then. It fails if the pod has no such container.
func ContainerOf(pod *corev1.Pod, name string) (container *corev1.Container, isInit bool, others []string, err error) {
	if name == "" {
		name, others = pickDefaultContainer(pod)
	}
	if err := CheckHasContainer(pod, name); err != nil {
		return nil, false, nil, err
	}

	container, isInit = findInSpec(pod, name)
	if container == nil {
		return nil, false, nil, &Error{Doing: "find " + TargetContainer{Pod: pod, Container: name}.String(),
			Err: fmt.Errorf("it is an ephemeral container, of which no copy can be made"), Next: "name another container with -c"}
	}
	return container, isInit, others, nil
}

// SpecifiedUser returns the uid that the spec gives a container, nil if the image decides it.
func SpecifiedUser(pod *corev1.Pod, container *corev1.Container) *int64 {
	uid, _ := specifiedUser(pod, container.SecurityContext)
	return uid
}
