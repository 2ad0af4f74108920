package redir

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/laptop/podset"
	"kdiag/applets/internal/laptop/redirectclient"
	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// cluster is what the command asks of the API. *kube.Cluster is the real one.
type cluster interface {
	clusterAPI
	podset.API
}

// A scope says which of a target's pods are redirected.
type scope int

const (
	// scopePod redirects one pod until it goes.
	scopePod scope = iota
	// scopeNext redirects one pod, and another one when it goes.
	scopeNext
	// scopeAll redirects every pod.
	scopeAll
)

// A follower redirects the pods of a target, as they come and go. What it has is its goroutine's
// own, but for the tally.
type follower struct {
	cluster cluster
	request containers.Request
	options options
	scope   scope
	show    *display
	tally   *tally

	set     *podset.Set
	failed  chan error  // the pods cannot be followed
	ended   chan *track // attempts that are over
	arming  chan struct{}
	tracks  map[types.UID]*track
	current *track // the one that is redirected, of scopeNext
	// last is the pod that went before there was another one.
	last redirectclient.Pod
	// refused are the pods of which it was told that no node takes them.
	refused map[types.UID]bool
	first   error // of the first attempt that failed
}

const (
	// maxArming limits how many pods get their redirects at the same time.
	maxArming = 4
	// firstRetry and maxRetry are the pauses before a pod is tried again.
	firstRetry = time.Second
	maxRetry   = 30 * time.Second
	// newsTime is how long the news may take why a pod is gone.
	newsTime = time.Second
)

func newFollower(c cluster, r containers.Request, o options, show *display) *follower {
	f := &follower{
		cluster: c, request: r, options: o, show: show, tally: newTally(), failed: make(chan error, 1), ended: make(chan *track),
		arming: make(chan struct{}, maxArming), tracks: map[types.UID]*track{}, refused: map[types.UID]bool{},
	}
	f.set = podset.New(f.reportBroken)
	switch named := r.Pod.Kind == "pods" && r.Pod.Name != ""; {
	case o.all:
		f.scope = scopeAll
	case !named && o.follow:
		f.scope = scopeNext
	}
	return f
}

// run redirects until ctx ends or there is nothing to redirect any more.
func (f *follower) run(ctx context.Context) error {
	pod, of, err := f.findPod(ctx)
	if err != nil {
		return err
	}

	following, stop := context.WithCancel(ctx)
	defer stop()
	f.follow(following, pod)
	if f.scope != scopeAll {
		f.current = f.begin(ctx, &track{pod: pod, isFirst: true, of: of})
	}

	stopPausing := f.pauseOnStop(ctx)
	err = f.loop(ctx)
	stopPausing()
	stop()
	f.endAll()
	return f.conclude(ctx, err)
}

// findPod finds the pod to begin with.
func (f *follower) findPod(ctx context.Context) (pod *corev1.Pod, of int, err error) {
	ctx, cancel := kube.WithTimeout(ctx, f.request.Timeout)
	defer cancel()
	pod, of, err = f.cluster.ChoosePod(ctx, f.request.Pod)
	return pod, of, containers.AddTimeoutHint(ctx, err)
}

// follow keeps the set of pods up to date until ctx ends.
func (f *follower) follow(ctx context.Context, pod *corev1.Pod) {
	if f.scope == scopePod {
		go f.set.FollowPod(ctx, f.cluster, pod)
		return
	}

	go func() {
		for ctx.Err() == nil {
			err := f.set.FollowAll(ctx, f.cluster, f.request.Pod)
			if f.scope == scopeAll || kube.IsAccessError(err) {
				f.failed <- err
				return
			}
			select {
			case <-time.After(firstRetry):
			case <-ctx.Done():
			}
		}
	}()
}

// reportBroken tells the user that pods cannot be followed for a while.
func (f *follower) reportBroken(err error) {
	if err == nil {
		f.show.note("watching the pods of " + f.request.Pod.String() + " again")
		return
	}
	f.show.note(fmt.Sprintf("%v; retrying", err))
}

// loop redirects as pods come and go. It returns why it cannot go on, and nil once ctx has ended.
func (f *follower) loop(ctx context.Context) error {
	for {
		if err := f.update(ctx); err != nil {
			return err
		}

		retry, stop := f.nextRetry()
		select {
		case <-ctx.Done():
			stop()
			return nil
		case <-f.set.Changed():
		case err := <-f.failed:
			switch {
			case isOver(ctx):
				stop()
				return nil
			case !f.tally.begun():
				stop()
				return err
			}
			f.show.note(fmt.Sprintf("%v; pods that start from now on are not redirected", err))
		case t := <-f.ended:
			if err := f.noteEnded(ctx, t); err != nil {
				stop()
				return err
			}
		case <-retry:
		}
		stop()
	}
}

// update brings what is redirected to what the set of pods asks for.
func (f *follower) update(ctx context.Context) error {
	members, listed := f.set.Members()
	for _, m := range members {
		if err := f.noteMember(ctx, m); err != nil {
			return err
		}
	}
	if err := f.retryDue(ctx); err != nil {
		return err
	}

	switch {
	case !listed:
	case f.scope == scopeNext && f.current == nil:
		f.takeNext(ctx, members)
	case f.scope == scopeAll:
		f.takeAll(ctx, members)
	}

	return nil
}

// noteMember notes what has become of a pod.
func (f *follower) noteMember(ctx context.Context, m podset.Member) error {
	t := f.tracks[m.Pod.UID]
	if t == nil {
		f.set.Forget(m.Pod.UID)
		return nil
	}

	if m.End != "" && !t.isGoing() {
		if err := f.noteGoing(ctx, t, m.End); err != nil {
			return err
		}
	}
	// One that was over before says why it cannot be redirected.
	if m.Gone || kube.IsFinished(m.Pod) && !kube.IsFinished(t.pod) {
		t.cancel() // the manager has ended, or the pod is not the target's any more
		if !t.running {
			f.drop(t)
		}
	}

	return nil
}

// noteGoing notes that a pod goes. Its connections go on for as long as its manager does.
func (f *follower) noteGoing(ctx context.Context, t *track, end string) error {
	t.setGoing(end)
	t.due = time.Time{}
	if f.scope == scopePod {
		if t.running {
			return nil
		}
		return f.endError(t)
	}

	gone := podGone{pod: t.name, end: end, target: f.request.Pod.String(), all: f.scope == scopeAll, left: f.countStaying()}
	var next *corev1.Pod
	if f.scope == scopeNext {
		f.current, f.last = nil, t.name
		members, _ := f.set.Members()
		next = podset.Best(f.withoutTracks(members))
	}
	if next != nil {
		gone.next = podName(next)
	}

	f.show.queue.PodGone(gone)
	if next != nil {
		f.current = f.begin(ctx, &track{pod: next})
	}
	if !t.running {
		f.drop(t)
	}

	return nil
}

// takeNext begins to redirect the best pod that is ready, if there is one.
func (f *follower) takeNext(ctx context.Context, members []podset.Member) {
	if next := podset.Best(f.withoutTracks(members)); next != nil {
		f.show.queue.PodTaken(podTaken{podName(next), f.last})
		f.current = f.begin(ctx, &track{pod: next})
	}
}

// takeAll begins to redirect every pod that is ready, and those that have run from the beginning.
func (f *follower) takeAll(ctx context.Context, members []podset.Member) {
	for _, m := range f.withoutTracks(members) {
		name := podName(m.Pod)
		switch why := kube.DescribeUnschedulable(m.Pod); {
		case m.IsReady() || m.Initial && m.IsRunning():
			if !m.Initial {
				f.show.queue.PodTaken(podTaken{pod: name})
			}
			f.begin(ctx, &track{pod: m.Pod, isFirst: m.Initial})
		case m.End == "" && why != "" && !f.refused[m.Pod.UID]:
			f.refused[m.Pod.UID] = true
			f.show.queue.PodFailed(podFailed{pod: name, err: errors.New(why)})
		}
	}
}

// withoutTracks returns the pods that nothing was begun with.
func (f *follower) withoutTracks(members []podset.Member) (left []podset.Member) {
	for _, m := range members {
		if f.tracks[m.Pod.UID] == nil {
			left = append(left, m)
		}
	}
	return left
}

// countStaying returns how many pods are redirected, or will be, and do not go.
func (f *follower) countStaying() (count int) {
	for _, t := range f.tracks {
		if !t.isGoing() {
			count++
		}
	}
	return count
}

// isOver reports whether a context has ended.
func isOver(ctx context.Context) bool { return ctx.Err() != nil }

// drop forgets a pod that is not redirected any more.
func (f *follower) drop(t *track) {
	t.cancel()
	if m, known := f.set.Find(t.pod.UID); known && !m.Gone && (m.End != "" || t.gone != nil) {
		return // it must not be begun anew; one that is selected again must
	}
	delete(f.tracks, t.pod.UID)
	f.set.Forget(t.pod.UID)
}

// keepFirst keeps the first error.
func (f *follower) keepFirst(err error) {
	if f.first == nil {
		f.first = err
	}
}

// endAll waits until every pod has its connections back.
func (f *follower) endAll() {
	for _, t := range f.tracks {
		t.cancel()
	}
	for _, t := range f.tracks {
		for t.running {
			ended := <-f.ended
			ended.running = false
			f.keepFirst(ended.err)
		}
	}
}

// conclude tells the sum, if anything was redirected, and returns how the command ends.
func (f *follower) conclude(ctx context.Context, err error) error {
	if !f.tally.begun() {
		if err == nil {
			err = f.first
		}
		if err == nil {
			err = context.Cause(ctx)
		}
		return err
	}

	if err != nil && f.scope == scopePod {
		f.show.queue.SessionLost(redirectclient.SessionLost{Pod: f.tally.lastPod(), Err: err})
	}
	f.show.queue.Finished(f.tally.sum())
	return err
}

// endError says that the only pod is gone, and why.
func (f *follower) endError(t *track) error {
	return applets.WithHint(fmt.Errorf("pod %s %s", t.name, t.end()), "connections are no longer redirected; run the command again for another pod")
}

// podName returns the pod in the words of events.
func podName(pod *corev1.Pod) redirectclient.Pod {
	return redirectclient.Pod{Namespace: pod.Namespace, Name: pod.Name}
}
