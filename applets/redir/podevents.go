package redir

import (
	"fmt"
	"strings"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/redirectclient"
	"kdiag/applets/internal/laptop/units"
)

// podGone says that a pod goes or has gone, and what is redirected in its place.
type podGone struct {
	pod redirectclient.Pod
	// end says how: "was deleted".
	end string
	// next is the pod that is redirected in its place, if there is one yet. Target is where one is
	// looked for, left how many of its other pods are redirected.
	next   redirectclient.Pod
	target string
	left   int
	all    bool // every pod of the target is redirected
}

// podTaken says that a pod is redirected from now on that was not there at the start.
type podTaken struct {
	pod redirectclient.Pod
	// instead is the pod that went before; empty if none did.
	instead redirectclient.Pod
}

// podFailed says that a pod could not be redirected, or not any more.
type podFailed struct {
	pod redirectclient.Pod
	err error
	// retry is when it is tried again; 0 for as soon as the pod is ready.
	retry time.Duration
}

func (q *eventQueue) PodGone(e podGone) {
	q.put(e.pod, unlimited, func() { q.printer.PodGone(e) })
}

func (q *eventQueue) PodTaken(e podTaken) {
	q.put(e.pod, unlimited, func() { q.printer.PodTaken(e) })
}

func (q *eventQueue) PodFailed(e podFailed) {
	q.put(e.pod, maxWaiting, func() { q.printer.PodFailed(e) })
}

func (p textEvents) PodGone(e podGone) {
	switch {
	case e.all && e.left == 0:
		p.printLine("pod %s %s; waiting for another pod of %s", e.pod, e.end, e.target)
	case e.all:
		p.printLine("pod %s %s; %s redirected", e.pod, e.end, applets.CountOf(e.left, "pod is still", "pods are still"))
	case e.next.Name == "":
		p.printLine("pod %s %s; waiting for a ready pod of %s", e.pod, e.end, e.target)
	default:
		p.printLine("pod %s %s; redirecting pod %s instead", e.pod, e.end, e.next)
	}
}

func (p textEvents) PodTaken(e podTaken) {
	if e.instead.Name == "" {
		p.printLine("redirecting pod %s, too", e.pod)
		return
	}
	p.printLine("redirecting pod %s instead of %s", e.pod, e.instead)
}

func (p textEvents) PodFailed(e podFailed) {
	again := "as soon as it is ready"
	if e.retry > 0 {
		again = "again in " + units.Span(e.retry.Seconds())
	}
	p.printLine("pod %s is not redirected: %s; trying %s", e.pod, e.err, again)
	for _, hint := range applets.Hints(e.err) {
		p.printLine("hint: %s", hint)
	}
}

type goneJSON struct {
	eventJSON
	Reason string `json:"reason"`
	// Next is the pod that is redirected in its place.
	Next string `json:"next,omitempty"`
}

func (p jsonEvents) PodGone(e podGone) {
	p.printEvent(goneJSON{p.newEvent("gone", e.pod), e.end, e.next.Name})
}

type takenJSON struct {
	eventJSON
	Instead string `json:"instead,omitempty"`
}

func (p jsonEvents) PodTaken(e podTaken) {
	p.printEvent(takenJSON{p.newEvent("next", e.pod), e.instead.Name})
}

type failedJSON struct {
	errorJSON
	// Retry is in how many seconds it is tried again; absent for as soon as the pod is ready.
	Retry float64 `json:"retrySeconds,omitempty"`
}

func (p jsonEvents) PodFailed(e podFailed) {
	p.printEvent(failedJSON{
		errorJSON{p.newEvent("failed", e.pod), e.err.Error(), strings.Join(applets.Hints(e.err), "; ")}, e.retry.Seconds(),
	})
}

// formatPods says from how many pods the connections of a summary came, if not from one.
func formatPods(pods []string) string {
	if len(pods) == 0 {
		return ""
	}
	return fmt.Sprintf(" from %s", applets.CountOf(len(pods), "pod", "pods"))
}
