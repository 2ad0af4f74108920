package redir

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/laptop/redirectclient"
	"kdiag/kube"
	"kdiag/mux"

	corev1 "k8s.io/api/core/v1"
)

// A track is one pod that is redirected, or is to be.
type track struct {
	pod  *corev1.Pod
	name redirectclient.Pod
	// isFirst is of a pod that the command began with, which was chosen of so many; 0 if it was
	// named, or all of them are redirected.
	isFirst bool
	of      int

	// These are the follower's own. err is why the last attempt ended.
	cancel   context.CancelFunc
	running  bool
	yielded  bool      // another session of the user's has its redirects
	failures int       // in a row
	due      time.Time // of the next attempt; zero for none
	gone     *kube.GoneError
	err      error

	armed atomic.Bool            // the redirects were there in the last attempt
	going atomic.Pointer[string] // how the pod ends
}

func (t *track) setGoing(end string) { t.going.Store(&end) }

// isGoing reports whether the pod ends: its connections go on, and nothing more is told of it.
func (t *track) isGoing() bool { return t.going.Load() != nil }

// end says how the pod ends.
func (t *track) end() string {
	if end := t.going.Load(); end != nil {
		return *end
	}
	return ""
}

// redirectPod redirects a pod until ctx or the session with its manager ends.
func (f *follower) redirectPod(ctx context.Context, t *track) error {
	select {
	case f.arming <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	armed := sync.OnceFunc(func() { <-f.arming })
	defer armed()

	request := f.request
	request.Pod = kube.Selection{Kind: "pods", Name: t.pod.Name}
	var client *redirectclient.Client
	request.CheckPod = func(ctx context.Context, pod *corev1.Pod) error {
		resolved, err := resolvePorts(ctx, f.cluster, f.request.Pod, pod, f.options.redirects)
		client.SetRedirects(resolved)
		return err
	}
	handle := containers.NewNet(&knownPod{API: f.cluster, pod: t.pod, of: t.of}, request, f.show.messages(t))

	observer := filter{trackEvents{f.show.queue, t}, f.options.detail}
	if f.options.output == "text" {
		// On a terminal the status line says what a calm one would repeat.
		quieter := newCalm(trackEvents{f.show.queue, t}, func() *redirectclient.Away { return client.Away() }, !f.show.terminal)
		defer quieter.stop()
		observer.Observer = quieter
	}

	config := f.options.clientConfig(request)
	f.completeConfig(&config, handle)
	if request.Container != "" {
		config.FindPorts = func(ctx context.Context) ([]uint16, error) {
			return findContainerPorts(ctx, handle, request.Container, observer)
		}
	}

	client = redirectclient.New(config, observer)
	session, err := handle.OpenSession(ctx, client.SessionOptions())
	if err != nil {
		return err
	}

	// With --all each line of text names its pod.
	if t.isFirst && (f.scope != scopeAll || f.options.output == "json") {
		observer.PodChosen(redirectclient.PodChosen{Pod: t.name, Of: handle.ChosenOf()})
	}
	name := string(t.pod.UID)
	f.options.guard.Add(name, handle.Ending(session))
	defer f.options.guard.Remove(name)
	f.tally.add(client, t)
	defer f.tally.remove(client)
	return client.Run(ctx, t.name, session, func() {
		armed()
		t.armed.Store(true)
		f.tally.noteArmed(t)
		f.show.clearProgress()
		f.show.counters.start(f.formatStatus)
	})
}

// completeConfig adds what a client asks about the pod that a handle has found.
func (f *follower) completeConfig(config *redirectclient.Config, handle *containers.Net) {
	config.Redial = handle.Redial
	config.Reopen = func(ctx context.Context, o mux.SessionOptions) (*mux.Session, error) {
		session, err := handle.ReopenSession(ctx, o)
		if err == nil {
			f.options.guard.Add(string(handle.Pod().UID), handle.Ending(session))
		}
		return session, err
	}
	config.FindProbes = probeFinder{f.cluster, handle.Pod}.find
	config.FindDestinations = func(ctx context.Context, s redirectclient.Spec) ([]netip.AddrPort, error) {
		return findDestinations(ctx, f.cluster, handle.Pod(), s)
	}
	config.Describe = func(s redirectclient.Spec) redirectclient.Declaration { return describePort(handle.Pod(), s) }
	config.MemoryLimit = func() int64 { return kube.MemoryLimit(handle.Pod()) }
}

// knownPod is an API that finds a pod at once that was found before.
type knownPod struct {
	containers.API
	pod *corev1.Pod
	of  int
}

func (k *knownPod) ChoosePod(ctx context.Context, s kube.Selection) (*corev1.Pod, int, error) {
	if pod := k.pod; pod != nil {
		k.pod = nil
		return pod, k.of, nil
	}
	return k.API.ChoosePod(ctx, s)
}

// MemoryUsage asks the cluster what memory the pod uses, if it can be asked.
func (k *knownPod) MemoryUsage(ctx context.Context, namespace, pod string) (bytes int64, ok bool) {
	reader, ok := k.API.(interface {
		MemoryUsage(ctx context.Context, namespace, pod string) (bytes int64, ok bool)
	})
	if !ok {
		return 0, false
	}
	return reader.MemoryUsage(ctx, namespace, pod)
}

// trackEvents tells what happens with one of several pods. The follower tells of the ends itself, and
// of a pod that goes nothing is told but its connections.
type trackEvents struct {
	*eventQueue
	track *track
}

func (e trackEvents) SessionLost(redirectclient.SessionLost) {}
func (e trackEvents) Finished(redirectclient.Summary)        {}

func (e trackEvents) Disconnected(lost redirectclient.Disconnected) {
	if !e.track.isGoing() {
		e.eventQueue.Disconnected(lost)
	}
}

func (e trackEvents) Reconnected(back redirectclient.Reconnected) {
	if !e.track.isGoing() {
		e.eventQueue.Reconnected(back)
	}
}

func (e trackEvents) Problem(p redirectclient.Problem) {
	if !e.track.isGoing() {
		e.eventQueue.Problem(p)
	}
}

func (e trackEvents) StillAway(s stillAway) {
	if !e.track.isGoing() {
		e.eventQueue.StillAway(s)
	}
}
