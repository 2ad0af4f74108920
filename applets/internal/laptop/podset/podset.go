// Package podset knows which pods a target has now, and what becomes of each: it says which should be
// redirected, and why one goes.
package podset

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// API is what a Set asks of the cluster. *kube.Cluster is the real one.
type API interface {
	WatchPods(ctx context.Context, s kube.Selection, w kube.PodWatch) error
	WatchNamedPod(ctx context.Context, pod *corev1.Pod, w kube.PodWatch)
}

// A Member is a pod that a Set has seen.
type Member struct {
	Pod *corev1.Pod
	// End says how the pod ends or has ended: "was deleted". It is empty for one that stays.
	End string
	// Gone says that the pod does not exist any more, or is not selected.
	Gone bool
	// Initial says that the pod was there at the beginning.
	Initial bool
}

// IsReady reports whether a pod is ready, and stays.
func (m Member) IsReady() bool { return m.End == "" && kube.IsReady(m.Pod) }

// IsRunning reports whether a pod runs, ready or not, and stays.
func (m Member) IsRunning() bool { return m.End == "" && m.Pod.Status.Phase == corev1.PodRunning }

// A Set is the pods of a target.
type Set struct {
	changed    chan struct{}
	broken     func(error)
	unknownEnd string // of a pod that is gone without more being known

	mu      sync.Mutex
	members map[types.UID]*Member
	listed  bool
}

// New makes a Set that knows no pods yet. Broken is told when it cannot follow the pods for a while,
// and nil when it can again.
func New(broken func(error)) *Set {
	return &Set{changed: make(chan struct{}, 1), broken: broken, members: map[types.UID]*Member{}}
}

// Changed returns a channel that has a value when something has changed since the last look.
func (s *Set) Changed() <-chan struct{} { return s.changed }

// FollowPod follows what becomes of one pod, until it is gone or ctx ends.
func (s *Set) FollowPod(ctx context.Context, api API, pod *corev1.Pod) {
	s.unknownEnd = "was deleted"
	s.noteState(pod)
	s.noteListed()
	api.WatchNamedPod(ctx, pod, s.watch())
}

// FollowAll follows all pods of a selection until ctx ends. It fails if it cannot list them.
func (s *Set) FollowAll(ctx context.Context, api API, selection kube.Selection) error {
	s.unknownEnd = "is gone, or not selected any more"
	return api.WatchPods(ctx, selection, s.watch())
}

// watch returns what keeps the Set up to date.
func (s *Set) watch() kube.PodWatch {
	return kube.PodWatch{Changed: s.noteState, Last: s.noteState, Gone: s.noteGone, Listed: s.noteListed, Broken: s.broken}
}

// noteState notes a pod's new state.
func (s *Set) noteState(pod *corev1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.members[pod.UID]
	if m == nil {
		m = &Member{Initial: !s.listed}
		s.members[pod.UID] = m
	}

	if m.Gone { // it is selected again
		m.End = ""
	}
	// What is known of an end stays: a later state may not tell it any more.
	m.Pod, m.End, m.Gone = pod, cmp.Or(m.End, kube.DescribePodEnd(pod)), false
	s.tell()
}

// noteGone notes that a pod is gone, or not selected any more.
func (s *Set) noteGone(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.members[uid]
	if m == nil {
		return
	}

	m.Gone = true
	m.End = cmp.Or(m.End, s.unknownEnd)
	s.tell()
}

// noteListed notes that all pods are known that were there at the beginning.
func (s *Set) noteListed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listed = true
	s.tell()
}

// tell has Changed fire. The caller holds mu.
func (s *Set) tell() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Members returns the pods in the order of their names, those that are gone too, and whether all are
// known that were there at the beginning.
func (s *Set) Members() (members []Member, listed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.members {
		members = append(members, *m)
	}
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.Pod.Name, b.Pod.Name) })
	return members, s.listed
}

// Find returns one pod.
func (s *Set) Find(uid types.UID) (Member, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.members[uid]; m != nil {
		return *m, true
	}
	return Member{}, false
}

// Forget forgets a pod that is gone.
func (s *Set) Forget(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.members[uid]; m != nil && m.Gone {
		delete(s.members, uid)
	}
}

// Best returns the best of the pods that are ready and stay, as kube.Cluster.FindPod chooses; nil if
// there is none.
func Best(members []Member) *corev1.Pod {
	var ready []corev1.Pod
	for _, m := range members {
		if m.IsReady() {
			ready = append(ready, *m.Pod)
		}
	}
	return kube.BestPod(ready)
}
