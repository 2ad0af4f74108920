package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubectl/pkg/util/podutils"
)

// CopyAnnotation is on each copy of a pod, and names the pod and the container.
const CopyAnnotation = "kdiag/copy-of"

// FindPodToCopy returns the pod of a selection that most needs a look: one that is not ready before
// one that is, and the newest of those. In a rollout that is stuck it is one of the new pods.
func (c *Cluster) FindPodToCopy(ctx context.Context, s Selection) (*corev1.Pod, error) {
	if s.Kind == "pods" && s.Name != "" {
		return c.getNamedPod(ctx, s.Name)
	}

	pods, err := c.listSelection(ctx, s)
	if err != nil {
		return nil, err
	}
	neediest := slices.MinFunc(pods, compareNeed)
	return &neediest, nil
}

// compareNeed orders pods by how much they need a look.
func compareNeed(a, b corev1.Pod) int {
	rank := func(p *corev1.Pod) int {
		switch {
		case p.DeletionTimestamp != nil:
			return 3
		case p.Status.Phase == corev1.PodSucceeded, p.Status.Phase == corev1.PodFailed && p.Status.Reason != "":
			// Nothing is wrong with it, or something else has ended it, as an eviction (with a reason of
			// the pod's own): it may be of a version long gone.
			return 2
		case podutils.IsPodReady(p):
			return 1
		}
		return 0
	}
	if d := rank(&a) - rank(&b); d != 0 {
		return d
	}
	return b.CreationTimestamp.Compare(a.CreationTimestamp.Time)
}

// CheckCopyable returns an error for a pod of which no copy can be made.
func CheckCopyable(pod *corev1.Pod) error {
	if of, ok := pod.Annotations[CopyAnnotation]; ok {
		return &Error{Doing: "copy pod " + pod.Namespace + "/" + pod.Name, Err: fmt.Errorf("it is a copy itself, of %s, and does not run the application", of),
			Next: "copy the pod that it was made of, or another one like it"}
	}
	if isWindows(pod) {
		return &Error{Doing: "copy pod " + pod.Namespace + "/" + pod.Name, Err: errors.New("kdiag does not support Windows pods"),
			Next: "use 'kubectl debug' with a Windows image"}
	}
	return nil
}
