package logs

import (
	"context"
	"io"
	"sync"
	"time"

	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// logCluster has the methods of a kube.Cluster that a follower needs.
type logCluster interface {
	OpenLog(ctx context.Context, r kube.LogRequest) (io.ReadCloser, error)
	WatchPods(ctx context.Context, s kube.Selection, w kube.PodWatch) error
}

// startPoint says where to begin in the logs of containers that already run.
type startPoint struct {
	// since says how far to go back by the node's clock; 0 means not at all.
	since time.Duration
	// tail is the number of last lines to begin with; a negative one means all.
	tail int64
}

// follower follows the logs of every container that its selections match, now or
// later.
type follower struct {
	cluster    logCluster
	selections []logSelection
	// watchers has who watches the pods of each selection; nil if cluster does.
	watchers []podWatcher
	startPoint
	slots   *streamSlots
	deliver func(*podLine)
	// beginLong, if set, is called with the beginning of a line that is cut.
	beginLong func(text []byte) *longLine
	// noteHere, if set, prints a note between the line before and the next one.
	noteHere func(format string, args ...any)
	// note prints a note for the user; fail ends the run.
	note func(format string, args ...any)
	fail func(error)
	// oneRead, if set, is read once from each container, instead of following it.
	oneRead *kube.LogRequest

	started  time.Time
	running  sync.WaitGroup // every goroutine of the follower's
	starting sync.WaitGroup // first lists, and the sources that were in them

	ready chan struct{}

	mu      sync.Mutex
	sources map[sourceKey]*logSource   // including those of deleted pods
	pods    map[types.UID]map[int]bool // which selections match a pod
}

type sourceKey struct {
	pod       types.UID
	container string
}

// start begins to follow. Every line that is logged after ready is closed will be
// delivered. Following ends with ctx; running waits for its goroutines.
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

// watchSelection watches the pods of one selection and keeps its sources current.
func (f *follower) watchSelection(ctx context.Context, i int) {
	chosen := f.selections[i]
	listed := false
	err := f.watcher(i).WatchPods(ctx, chosen.pods, kube.PodWatch{
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
				f.note("%v; retrying", err)
				return
			}
			f.note("watching the pods of %s again", chosen.pods)
		},
	})

	if !listed {
		f.fail(err)
		f.starting.Done()
	}
}

// noteIfEmpty tells the user if a selection matches no pod yet.
func (f *follower) noteIfEmpty(i int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, held := range f.pods {
		if held[i] {
			return
		}
	}
	f.note("no pods to follow yet for %s", f.selections[i].pods)
}

// updatePod starts the sources of a pod, or tells running ones of its new state.
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

	for _, container := range chosen.containers.SelectFrom(pod) {
		key := sourceKey{pod.UID, container}
		s := f.sources[key]
		if s != nil {
			s.setInstance(kube.NewestInstance(pod, container))
			f.startSource(ctx, s)
			continue
		}

		s = &logSource{
			f: f, namespace: pod.Namespace, pod: pod.Name, uid: pod.UID, container: container,
			node: pod.Spec.NodeName, initial: initial, changed: make(chan struct{}, 1),
			now: kube.NewestInstance(pod, container),
		}
		if initial {
			s.restarts = s.now.Restarts
			f.starting.Add(1)
		}

		f.sources[key] = s
		f.startSource(ctx, s)
	}
}

// reportMissing reports a named container that a pod does not have. It ends the run
// if the pod was named too.
func (f *follower) reportMissing(chosen logSelection, err error) {
	if chosen.pods.Name != "" && chosen.pods.Kind == "pods" {
		f.fail(err)
		return
	}
	f.note("%v", err)
}

// startSource starts a goroutine that reads a source, unless one is running. When a
// label makes a pod match again, its sources continue where they were. The caller
// holds f.mu.
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

// readSource reads one source. Sources that were there at the start first find where
// to begin, all of them before any is followed.
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

// isBehind reports whether there may be unread lines that were logged before a time.
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

// tellHere tells the user about what is missing between the line before and the next one.
func (f *follower) tellHere(format string, args ...any) {
	if f.noteHere == nil {
		f.note(format, args...)
		return
	}
	f.noteHere(format, args...)
}

// beginLongLine begins to look at a line that is cut.
func (f *follower) beginLongLine(text []byte) *longLine {
	if f.beginLong == nil {
		return nil
	}
	return f.beginLong(text)
}

// sinceSeconds returns --since in whole seconds, counted from now instead of from
// the start of the run.
func (f *follower) sinceSeconds() int64 {
	if f.since == 0 {
		return 0
	}
	return int64((f.since + time.Since(f.started) + time.Second - 1) / time.Second)
}
