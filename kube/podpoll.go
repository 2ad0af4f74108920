package kube

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
)

// The right to get one pod by its name is enough to follow it. Without those to list and to watch
// it, kdiag reads it again and again.

// The first and the longest pause between two reads. It doubles while nothing changes.
const (
	firstPollPause = 100 * time.Millisecond
	maxPollPause   = 2 * time.Second
)

// listSelectedPods lists pods. One that is selected by its name is read if pods cannot be listed.
func (c *Cluster) listSelectedPods(ctx context.Context, options metav1.ListOptions) (*corev1.PodList, error) {
	list, err := listObjects[corev1.PodList](ctx, c.pods(c.Namespace), options)
	name := selectedName(options)
	if name == "" || !apierrors.IsForbidden(err) {
		return list, err
	}

	pod, getErr := getObject[corev1.Pod](ctx, c.pods(c.Namespace), name)
	switch {
	case isNotFound(getErr):
		return &corev1.PodList{}, nil
	case apierrors.IsForbidden(getErr):
		return nil, err
	case getErr != nil:
		return nil, getErr
	}

	return &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: pod.ResourceVersion}, Items: []corev1.Pod{*pod}}, nil
}

// watchSelectedPods begins a watch of pods. One that is selected by its name is read again and
// again if pods cannot be watched. known is that pod as the caller knows it, or nil: its end is
// told even if it has gone already.
func watchSelectedPods(ctx context.Context, pods resource, options metav1.ListOptions, known *corev1.Pod) (watch.Interface, error) {
	watcher, err := pods.watchObjects(ctx, options)
	name := selectedName(options)
	if name == "" || !apierrors.IsForbidden(err) {
		return watcher, err
	}

	now, getErr := getObject[corev1.Pod](ctx, pods, name)
	switch {
	case getErr == nil && known == nil:
		known = now
	case getErr != nil && !isNotFound(getErr):
		return watcher, err
	}

	return pollPod(ctx, pods, name, options.ResourceVersion, known), nil
}

// selectedName returns the name of the only object that options select, or "".
func selectedName(options metav1.ListOptions) string {
	selector, err := fields.ParseSelector(options.FieldSelector)
	if err != nil {
		return ""
	}
	name, _ := selector.RequiresExactMatch("metadata.name")
	return name
}

// podPoll is a watch of one pod that reads it.
type podPoll struct {
	pods    resource
	name    string
	results chan watch.Event
	stop    context.CancelFunc
}

func (p *podPoll) Stop()                          { p.stop() }
func (p *podPoll) ResultChan() <-chan watch.Event { return p.results }

// pollPod begins to read a pod, whose version is known, and maybe the pod itself.
func pollPod(ctx context.Context, pods resource, name, version string, known *corev1.Pod) watch.Interface {
	ctx, stop := context.WithCancel(ctx)
	p := &podPoll{pods: pods, name: name, results: make(chan watch.Event), stop: stop}
	go p.run(ctx, version, known)
	return p
}

// run sends an event for each change until the pod is gone, or cannot be read.
func (p *podPoll) run(ctx context.Context, version string, last *corev1.Pod) {
	defer close(p.results)
	defer p.stop()

	for pause := firstPollPause; ; pause = min(2*pause, maxPollPause) {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}

		pod, err := getObject[corev1.Pod](ctx, p.pods, p.name)
		switch {
		case isNotFound(err):
			p.sendEnd(ctx, last)
			return
		case err != nil:
			return // as a watch that breaks off; the next one says why
		case last != nil && pod.UID != last.UID:
			// Whoever watches is told of the old pod's end first.
			if !p.sendEnd(ctx, last) {
				return
			}
		}

		last = pod
		if pod.ResourceVersion != version {
			version, pause = pod.ResourceVersion, firstPollPause/2
			if !p.send(ctx, watch.Event{Type: watch.Modified, Object: pod}) {
				return
			}
		}
	}
}

// sendEnd sends that a pod is gone, unless it was never seen.
func (p *podPoll) sendEnd(ctx context.Context, pod *corev1.Pod) bool {
	return pod == nil || p.send(ctx, watch.Event{Type: watch.Deleted, Object: pod})
}

// send sends an event. It returns false if nobody wants it any more.
func (p *podPoll) send(ctx context.Context, event watch.Event) bool {
	select {
	case p.results <- event:
		return true
	case <-ctx.Done():
		return false
	}
}
