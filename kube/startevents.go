package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
)

// errStarted ends a wait because the kubelet says in an event that the container has started.
var errStarted = errors.New("started")

// findEventVersion asks in the background for the version of a namespace's events from which a
// watch tells only what is new. A watch without one begins with all events that are kept: if
// there are thousands, that takes the server longer than a container takes to start. The
// channel is closed without a version if the user may not list events.
func (c *Cluster) findEventVersion(ctx context.Context, namespace string) <-chan string {
	version := make(chan string, 1)
	go func() {
		defer close(version)
		if one, err := listObjects[corev1.EventList](ctx, c.events(namespace), metav1.ListOptions{Limit: 1}); err == nil {
			version <- one.ResourceVersion
		}
	}()

	return version
}

// followEvents reads the kubelet's events about the container. It shows them as progress, and ends
// the wait when the container has started or failed. The pod's status tells of a start up to a
// second later, and of a failure 10 s later; without the right to list and watch events, the wait
// depends on the status alone.
func (w *startWait) followEvents(ctx context.Context, pod *corev1.Pod, since <-chan string, end context.CancelCauseFunc) {
	version, ok := <-since
	if !ok {
		return
	}

	options := metav1.ListOptions{
		FieldSelector:   fields.Set{"involvedObject.uid": string(pod.UID)}.String(),
		ResourceVersion: version,
	}

	watcher, err := w.events(pod.Namespace).watchObjects(ctx, options)
	if err != nil {
		return
	}
	defer watcher.Stop()

	ours := fmt.Sprintf("spec.ephemeralContainers{%s}", w.container)
	for {
		select {
		case <-ctx.Done():
			return
		case event, open := <-watcher.ResultChan():
			if !open {
				return
			}

			if said, ok := event.Object.(*corev1.Event); ok && said.InvolvedObject.FieldPath == ours {
				w.handleEvent(said, end)
			}
		}
	}
}

// handleEvent ends the wait if an event says that the container has started or failed, and shows
// any other event as progress.
func (w *startWait) handleEvent(said *corev1.Event, end context.CancelCauseFunc) {
	switch {
	case said.Reason == "Started":
		end(errStarted)
	case slices.Contains(failedReasons, said.Reason):
		if _, err := w.judge(&startError{"", said.Message}); err != nil {
			end(err)
		}
	default:
		w.dialAhead() // the container will run soon
		w.progress(wire.OneLine(said.Message))
	}
}

// failedReasons lists the reasons of the kubelet's events about a container that it could not
// start (pkg/kubelet/events).
var failedReasons = []string{"Failed", "ErrImageNeverPull", "InspectFailed", "BackOff"}
