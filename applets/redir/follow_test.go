package redir

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/testkit/fakecluster"
	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
)

// newTestFollower makes a follower of a Deployment's pods, and returns what it has printed.
func newTestFollower(t *testing.T, c cluster, o options) (f *follower, printed func() string) {
	t.Helper()
	var out, notes bytes.Buffer
	o.output = "text"
	show := o.newDisplay(applets.Streams{In: strings.NewReader(""), Out: &out, Err: &notes})
	f = newFollower(c, containers.Request{Pod: kube.Selection{Kind: "deployments", Name: "web"}}, o, show)
	return f, func() string {
		show.queue.finish(t.Context(), stuckTime, show.counters.stop)
		return out.String() + notes.String()
	}
}

// addTrack adds the fake's pod, whose redirects were there.
func addTrack(t *testing.T, f *follower) *track {
	t.Helper()
	pod, err := (&fakecluster.Fake{}).FindPod(t.Context(), kube.Selection{})
	if err != nil {
		t.Fatal(err)
	}
	added := &track{pod: pod, name: podName(pod), cancel: func() {}, running: true}
	added.armed.Store(true)
	f.tally.noteArmed(added)
	f.tracks[pod.UID] = added
	return added
}

// TestLostSession says that the command must be run again only where it ends.
func TestLostSession(t *testing.T) {
	const hint = "run the command again"
	for _, follow := range []bool{true, false} {
		f, printed := newTestFollower(t, &fakecluster.Fake{}, options{follow: follow})
		lost := addTrack(t, f)
		lost.err = errors.New("the session ended")
		err := f.noteEnded(t.Context(), lost)
		if text := printed(); strings.Contains(text, hint) || strings.Contains(text, "trying again in 1s") != follow {
			t.Errorf("follow %t: printed %q", follow, text)
		}
		if hints := strings.Join(applets.Hints(err), "; "); (err == nil) != follow || strings.Contains(hints, hint) == follow {
			t.Errorf("follow %t: %v, hints %q", follow, err, hints)
		}
	}
}

// TestInterruptIsNoFailure says nothing of the watch that ends with the command.
func TestInterruptIsNoFailure(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 { // what is ready is chosen at random
		f, printed := newTestFollower(t, &fakecluster.Fake{}, options{follow: true, all: true})
		addTrack(t, f)
		f.failed <- over.Err()
		if err, text := f.loop(over), printed(); err != nil || text != "" {
			t.Fatalf("loop = %v, printed %q", err, text)
		}
	}
}

// TestSelectedAgain redirects a pod again that was not selected for a moment.
func TestSelectedAgain(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	watched := make(chan kube.PodWatch, 1)
	cluster := &fakecluster.Fake{Watch: func(_ context.Context, w kube.PodWatch) error { watched <- w; return nil }}
	f, printed := newTestFollower(t, cluster, options{follow: true, all: true})
	if err := f.set.FollowAll(t.Context(), cluster, f.request.Pod); err != nil {
		t.Fatal(err)
	}

	w := <-watched
	first := addTrack(t, f)
	w.Changed(first.pod)
	w.Listed()
	w.Gone(first.pod.UID)
	if err := f.update(over); err != nil {
		t.Fatal(err)
	}
	w.Changed(first.pod)
	if err := f.update(over); err != nil {
		t.Fatal(err)
	}
	if f.tracks[first.pod.UID] != first {
		t.Fatal("it is redirected twice")
	}

	first.err = nil // its connections have ended
	if err := f.noteEnded(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if err := f.update(over); err != nil {
		t.Fatal(err)
	}
	again := f.tracks[first.pod.UID]
	if again == nil || again == first {
		t.Fatal("it is not redirected again")
	}
	select {
	case ended := <-f.ended:
		ended.running = false
	case <-time.After(20 * time.Second):
		t.Error("its attempt does not end")
	}
	_ = printed()
}

// TestCompletedPodEnds ends the attempt with a pod that has completed, as a Job's does, at once, and
// gives that as the reason: nothing is left that could be waited for.
func TestCompletedPodEnds(t *testing.T) {
	watched := make(chan kube.PodWatch, 1)
	cluster := &fakecluster.Fake{Watch: func(_ context.Context, w kube.PodWatch) error { watched <- w; return nil }}
	f, _ := newTestFollower(t, cluster, options{})
	f.scope = scopePod
	only := addTrack(t, f)
	cancelled := false
	only.cancel = func() { cancelled = true }
	f.set.FollowPod(t.Context(), cluster, only.pod)

	done := only.pod.DeepCopy()
	done.Status.Phase = corev1.PodSucceeded
	(<-watched).Changed(done)
	if err := f.update(t.Context()); err != nil || !cancelled {
		t.Errorf("update = %v, the attempt is over: %t, want that it is", err, cancelled)
	}

	only.err = errors.New("the manager ended the session")
	err := f.noteEnded(t.Context(), only)
	if err == nil || !strings.HasSuffix(err.Error(), "has completed") {
		t.Errorf("ended with %v, want that the pod has completed", err)
	}
}

// measuredCluster is a cluster that knows what its pod uses.
type measuredCluster struct{ *fakecluster.Fake }

func (measuredCluster) MemoryUsage(context.Context, string, string) (bytes int64, ok bool) {
	return 7, true
}

// TestKnownPodIsMeasured asks what a pod uses that was found before, where the cluster knows it.
func TestKnownPodIsMeasured(t *testing.T) {
	known := &knownPod{API: measuredCluster{&fakecluster.Fake{}}}
	if used, ok := known.MemoryUsage(t.Context(), "default", "web"); used != 7 || !ok {
		t.Errorf("MemoryUsage = %d, %t, want 7", used, ok)
	}
	known.API = &fakecluster.Fake{}
	if used, ok := known.MemoryUsage(t.Context(), "default", "web"); used != 0 || ok {
		t.Errorf("MemoryUsage of a cluster that does not know = %d, %t, want none", used, ok)
	}
}
