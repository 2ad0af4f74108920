package logs

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// logCluster is what a follower needs of a kube.Cluster.
type logCluster interface {
	OpenLog(ctx context.Context, r kube.LogRequest) (io.ReadCloser, error)
	WatchPods(ctx context.Context, s kube.Selection, w kube.PodWatch) error
}

// startPoint says where the logs of what is there at the start begin.
type startPoint struct {
	// since is how far back, by the node's clock; 0 for not at all.
	since time.Duration
	// tail is with how many of the last lines: 0 for none, less for all.
	tail int64
}

// follower follows the logs of every container that its selections mean, and
// of those that come to be meant.
type follower struct {
	cluster    logCluster
	selections []logSelection
	startPoint
	slots   *streamSlots
	deliver func(*podLine)
	// note tells the user something in one line, fail ends the run.
	note func(format string, args ...any)
	fail func(error)
	// only, if set, is read once from each container, in place of following.
	oneRead *kube.LogRequest

	started  time.Time
	running  sync.WaitGroup // every goroutine of the follower's
	starting sync.WaitGroup // sources that were there at the start, and lists

	ready chan struct{}

	mu      sync.Mutex
	sources map[sourceKey]*logSource   // those of pods that are gone, too
	pods    map[types.UID]map[int]bool // which selections mean a pod
}

type sourceKey struct {
	pod       types.UID
	container string
}

// start begins to follow. Once ready is closed, every line that is logged from
// then on comes. It all ends with ctx; running waits for that.
func (f *follower) start(ctx context.Context) {
	f.started, f.ready = time.Now(), make(chan struct{})
	f.sources, f.pods = map[sourceKey]*logSource{}, map[types.UID]map[int]bool{}
	f.starting.Add(len(f.selections))
	for i := range f.selections {
		f.running.Go(func() { f.watchSelection(ctx, i) })
	}
	f.running.Go(func() {
		f.starting.Wait()
		close(f.ready)
	})
}

// watchSelection keeps the sources of one selection.
func (f *follower) watchSelection(ctx context.Context, i int) {
	chosen := f.selections[i]
	listed := false
	err := f.cluster.WatchPods(ctx, chosen.pods, kube.PodWatch{
		Changed: func(pod *corev1.Pod) {
			if listed && f.oneRead != nil {
				return
			}
			f.updatePod(ctx, i, pod, !listed)
		},
		Gone: func(uid types.UID) { f.removePod(i, uid) },
		Listed: func() {
			listed = true
			f.noteIfEmpty(i)
			f.starting.Done()
		},
		Broken: func(err error) {
			if err != nil {
				f.note("%v; trying again", err)
				return
			}
			f.note("the pods of %s are watched again", chosen.pods)
		},
	})
	if !listed {
		f.fail(err)
		f.starting.Done()
	}
}

// noteIfEmpty says what a selection does not mean.
func (f *follower) noteIfEmpty(i int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, held := range f.pods {
		if held[i] {
			return
		}
	}
	f.note("no pod of %s yet", f.selections[i].pods)
}

// updatePod makes the sources of a pod, or tells those that there are.
func (f *follower) updatePod(ctx context.Context, i int, pod *corev1.Pod, initial bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	chosen := f.selections[i]
	if f.pods[pod.UID] == nil {
		f.pods[pod.UID] = map[int]bool{}
	}

	if !f.pods[pod.UID][i] {
		f.pods[pod.UID][i] = true
		if missing := chosen.checkContainers(pod); missing != nil {
			f.reportMissing(chosen, missing)
		}
	}

	for _, container := range chosen.containers.Of(pod) {
		key := sourceKey{pod.UID, container}
		s := f.sources[key]
		if s != nil {
			s.setInstance(kube.InstanceOf(pod, container))
			f.startSource(ctx, s)
			continue
		}

		s = &logSource{
			f: f, namespace: pod.Namespace, pod: pod.Name, uid: pod.UID, container: container,
			node: pod.Spec.NodeName, initial: initial, changed: make(chan struct{}, 1),
			now: kube.InstanceOf(pod, container),
		}
		if initial {
			s.restarts = s.now.Restarts
			f.starting.Add(1)
		}

		f.sources[key] = s
		f.startSource(ctx, s)
	}
}

// reportMissing deals with a container that was named and that a pod has not.
func (f *follower) reportMissing(chosen logSelection, err error) {
	if chosen.pods.Name != "" && chosen.pods.Kind == "pods" {
		f.fail(err)
		return
	}
	f.note("%v", err)
}

// startSource has a source read, unless it is. A pod may come to be meant again, by a
// label; then its sources go on from where they were. The caller has f.mu.
func (f *follower) startSource(ctx context.Context, s *logSource) {
	if s.running {
		return
	}

	s.running = true
	f.running.Go(func() {
		for {
			f.readSource(ctx, s)
			f.mu.Lock()
			s.running = f.oneRead == nil && ctx.Err() == nil && !s.isGone()
			again := s.running
			f.mu.Unlock()
			if !again {
				return
			}
		}
	})
}

// readSource runs one source: first those that were there at the start find where to
// begin, all of them before any is followed.
func (f *follower) readSource(ctx context.Context, s *logSource) {
	if s.initial && !s.asked {
		s.asked = true
		if f.oneRead != nil {
			s.readOnce(ctx)
		} else {
			s.findFirstStart(ctx)
		}
		f.starting.Done()
	}

	if f.oneRead != nil {
		return
	}

	select {
	case <-f.ready:
		s.followLog(ctx)
	case <-ctx.Done():
	}
}

func (f *follower) removePod(i int, uid types.UID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.pods[uid], i)
	if len(f.pods[uid]) > 0 {
		return
	}

	delete(f.pods, uid)
	for key, s := range f.sources {
		if key.pod == uid {
			s.setGone()
		}
	}
}

// isBehind reports whether some container may have logged lines before a time
// that were not read yet.
func (f *follower) isBehind(when time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.sources {
		if s.isBehind(when) {
			return true
		}
	}
	return false
}

// sinceSeconds is what --since is by now, in whole seconds: it was said at the
// start.
func (f *follower) sinceSeconds() int64 {
	if f.since == 0 {
		return 0
	}
	return int64((f.since + time.Since(f.started) + time.Second - 1) / time.Second)
}

// readOnce reads what was asked for, once.
func (s *logSource) readOnce(ctx context.Context) {
	if !s.f.slots.takeSlot(ctx) {
		return
	}
	defer s.f.slots.freeSlot()

	_, open, err := s.readStream(ctx, *s.f.oneRead, nil)
	if open != nil {
		s.passOpen(open)
	}

	switch {
	case err == nil || ctx.Err() != nil:
	case errors.Is(err, kube.ErrNoLog), errors.Is(err, kube.ErrNoPod):
		s.f.note("%v", err)
	default:
		s.f.fail(err)
	}
}
