package kube

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// PodWatch has functions that learn of a selection's pods. They are called one at a time.
type PodWatch struct {
	// Changed is called with every pod that exists, and with each new state of one.
	Changed func(*corev1.Pod)
	// Gone is called when a pod is gone, or no longer selected.
	Gone func(types.UID)
	// Last is called before Gone with the last state of a pod, if that is known; it may be nil.
	Last func(*corev1.Pod)
	// Listed is called once, when Changed has been called for every pod of the first list.
	Listed func()
	// Broken is called with an error when the watch has ended and cannot be restarted, and
	// with nil when it works again.
	Broken func(error)
}

// rewatch is the pause between a watch's end and the next one.
const rewatch = time.Second

// WatchPods tells w of the pods that s selects until ctx ends, and returns the cause of that.
// It fails if it cannot list the pods at first; later it tries again for ever.
func (c *Cluster) WatchPods(ctx context.Context, s Selection, w PodWatch) error {
	selected, err := c.podsToWatch(ctx, s)
	if err != nil {
		return err
	}
	options, w := selected.options, selected.filterWatch(ctx, w)

	doing := "list the pods of " + s.String()
	known, listed, broken := map[types.UID]bool{}, false, false
	forbidden := false // to watch, but not to list
	for {
		version, err := c.listPods(ctx, options, known, w)
		switch {
		case err != nil && !listed:
			return c.explainError(ctx, doing, rightListPods.scopedTo(c.Namespace, ""), err)
		case err == nil && !listed:
			listed = true
			w.Listed()
		case err == nil && broken && !forbidden:
			broken = false
			w.Broken(nil)
		}

		if err == nil {
			err = c.followPods(ctx, options, version, known, w)
			forbidden = apierrors.IsForbidden(err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}

		if err != nil && !broken && !apierrors.IsGone(err) && !apierrors.IsResourceExpired(err) {
			broken = true
			w.Broken(c.explainError(ctx, "watch the pods of "+s.String(), rightWatchPods.scopedTo(c.Namespace, ""), err))
		}

		select {
		case <-time.After(rewatch):
		case <-ctx.Done():
		}
	}
}

// podsToWatch finds out which pods a selection has. It fails if a pod that is given by name does
// not exist.
func (c *Cluster) podsToWatch(ctx context.Context, s Selection) (targetPods, error) {
	if s.Kind != "pods" || s.Name == "" {
		return c.findTargetPods(ctx, s)
	}

	_, err := c.getNamedPod(ctx, s.Name)
	return targetPods{options: metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", s.Name).String()}}, err
}

// listPods tells w of every pod that exists, and of those that are gone since the last list.
func (c *Cluster) listPods(ctx context.Context, options metav1.ListOptions, known map[types.UID]bool, w PodWatch) (version string, err error) {
	got, err := c.listSelectedPods(ctx, options)
	if err != nil {
		return "", err
	}

	there := map[types.UID]bool{}
	for i := range got.Items {
		there[got.Items[i].UID] = true
	}

	for uid := range known {
		if !there[uid] {
			delete(known, uid)
			w.Gone(uid)
		}
	}

	for i := range got.Items {
		known[got.Items[i].UID] = true
		w.Changed(&got.Items[i])
	}

	return got.ResourceVersion, nil
}

// followPods tells w of changes until the watch ends. It returns nil if the API server ended
// the watch as planned, which it does every few minutes.
func (c *Cluster) followPods(ctx context.Context, options metav1.ListOptions, version string, known map[types.UID]bool, w PodWatch) error {
	options.ResourceVersion = version
	changes, err := watchSelectedPods(ctx, resource{c.longLived, c.codec, "pods", c.Namespace}, options, nil)
	if err != nil {
		return err
	}
	defer changes.Stop()

	for event := range changes.ResultChan() {
		if event.Type == watch.Error {
			return apierrors.FromObject(event.Object)
		}

		pod, ok := event.Object.(*corev1.Pod)
		if !ok {
			continue
		}

		if event.Type == watch.Deleted {
			delete(known, pod.UID)
			if w.Last != nil {
				w.Last(pod)
			}
			w.Gone(pod.UID)
			continue
		}

		known[pod.UID] = true
		w.Changed(pod)
	}

	return nil
}

// WatchNamedPod tells w what becomes of a pod until it is gone or ctx ends. It needs no right to list
// pods, nor to watch them. Listed is not called.
func (c *Cluster) WatchNamedPod(ctx context.Context, pod *corev1.Pod, w PodWatch) {
	options := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", pod.Name).String()}
	uid, version, broken := pod.UID, pod.ResourceVersion, false
	works := func() {
		if broken {
			broken = false
			w.Broken(nil)
		}
	}
	watched := w
	watched.Changed = func(pod *corev1.Pod) { works(); w.Changed(pod) }

	for ctx.Err() == nil {
		known := map[types.UID]bool{uid: true}
		err := c.followPods(ctx, options, version, known, watched)
		if !known[uid] {
			return
		}

		if err == nil && ctx.Err() == nil {
			works()
		}
		if err != nil && ctx.Err() == nil && !broken && !apierrors.IsGone(err) && !apierrors.IsResourceExpired(err) {
			broken = true
			w.Broken(c.explainError(ctx, "watch pod "+pod.Name, rightWatchPods.scopedTo(c.Namespace, pod.Name), err))
		}

		select {
		case <-time.After(rewatch):
		case <-ctx.Done():
			return
		}

		now, err := getObject[corev1.Pod](ctx, c.pods(c.Namespace), pod.Name)
		switch {
		case isNotFound(err), err == nil && now.UID != uid:
			w.Gone(uid)
			return
		case err == nil:
			version = now.ResourceVersion
			w.Changed(now)
		}
	}
}
