package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// kubelet is a container's log as the kubelet gives it: by instance, of which
// it has two, from a whole second on, with streams that break anywhere.
type kubelet struct {
	random *rand.Rand

	// status is held while the API learns of a restart: nothing is opened then.
	status sync.RWMutex

	mu        sync.Mutex
	instances [][]stamped
	changed   chan struct{} // closed and made anew with each change
	running   bool
	streams   int
	// whole lets no stream break.
	whole bool
	// first is the first line of the present file: those before it were rotated away.
	// Streams before it jump to it if jumps is set.
	first int
	jumps bool
	// stalled is the number of the last stream that brings nothing any more.
	stalled int
	watch   kube.PodWatch
	// comesLate has the container come after the start.
	comesLate bool
	// opening, if set, is called before a log is followed.
	opening func()
}

type stamped struct {
	at   time.Time
	text string
}

func newKubelet(seed uint64) *kubelet {
	return &kubelet{random: rand.New(rand.NewPCG(seed, 1)), instances: [][]stamped{nil}, changed: make(chan struct{}), running: true}
}

func (k *kubelet) change(do func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	do()
	close(k.changed)
	k.changed = make(chan struct{})
}

// log appends lines to the present instance.
func (k *kubelet) log(lines ...stamped) {
	k.change(func() {
		last := len(k.instances) - 1
		k.instances[last] = append(k.instances[last], lines...)
	})
}

// restart ends the present instance and begins the next one, so many times
// before anyone can look.
func (k *kubelet) restart(times int) {
	k.status.Lock()
	defer k.status.Unlock()
	k.change(func() { k.instances, k.first = append(k.instances, make([][]stamped, times)...), 0 })
	k.watch.Changed(k.pod())
}

func (k *kubelet) stop() {
	k.change(func() { k.running = false })
	k.watch.Changed(k.pod())
}

func (k *kubelet) pod() *corev1.Pod {
	k.mu.Lock()
	defer k.mu.Unlock()
	last := len(k.instances) - 1
	status := corev1.ContainerStatus{Name: "app", RestartCount: int32(last), ContainerID: fmt.Sprintf("fake://%d", last)}
	if k.running {
		status.State.Running = &corev1.ContainerStateRunning{}
	}

	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "ns", UID: types.UID("1")},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}},
		Status:     corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{status}},
	}
}

func (k *kubelet) WatchPods(ctx context.Context, _ kube.Selection, w kube.PodWatch) error {
	k.watch = w
	if !k.comesLate {
		w.Changed(k.pod())
	}
	w.Listed()
	<-ctx.Done()
	return ctx.Err()
}

var errCut = errors.New("connection cut")

func (k *kubelet) OpenLog(ctx context.Context, r kube.LogRequest) (io.ReadCloser, error) {
	if k.opening != nil && r.Follow {
		k.opening()
	}

	k.status.RLock()
	defer k.status.RUnlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.streams++
	which := len(k.instances) - 1
	if r.Previous {
		if which--; which < 0 {
			return nil, fmt.Errorf("previous: %w", kube.ErrNoLog)
		}
	}

	stream := &fakeStream{k: k, ctx: ctx, r: r, instance: which, breaks: -1, number: k.streams}
	if !r.Previous {
		stream.next = k.first
	}
	if r.Tail != nil {
		stream.next = max(stream.next, len(k.instances[which])-int(*r.Tail))
	}
	if k.whole && r.Limit == 0 {
		return stream, nil
	}
	if r.Limit > 0 {
		stream.breaks, stream.clean = int(r.Limit), true
	} else if (r.Tail == nil || r.Follow) && k.random.IntN(4) > 0 {
		stream.breaks = k.random.IntN(4000)
		stream.clean = k.random.IntN(2) == 0
	}

	return stream, nil
}

// fakeStream is one stream. It breaks after so many bytes, in good order or
// not.
type fakeStream struct {
	k        *kubelet
	ctx      context.Context
	r        kube.LogRequest
	instance int
	number   int
	next     int
	left     bytes.Buffer
	breaks   int
	clean    bool
}

func (s *fakeStream) Close() error { return nil }

func (s *fakeStream) Read(p []byte) (int, error) {
	for s.left.Len() == 0 {
		s.k.mu.Lock()
		lines := s.k.instances[s.instance]
		live := s.r.Follow && s.k.running && s.instance == len(s.k.instances)-1
		changed := s.k.changed
		stalled := s.r.Follow && s.number <= s.k.stalled
		if s.k.jumps && !s.r.Previous {
			s.next = max(s.next, s.k.first)
		}
		s.k.mu.Unlock()
		if s.next < len(lines) && !stalled {
			if line := lines[s.next]; !line.at.Before(s.r.Since) {
				fmt.Fprintf(&s.left, "%s %s\n", line.at.Format(stampLayout), line.text)
			}
			s.next++
			continue
		}

		if !live {
			return 0, io.EOF
		}

		select {
		case <-changed:
		case <-s.ctx.Done():
			return 0, s.ctx.Err()
		}
	}

	if s.breaks == 0 {
		if s.clean {
			return 0, io.EOF
		}
		return 0, errCut
	}

	if s.breaks > 0 && len(p) > s.breaks {
		p = p[:s.breaks]
	}

	n, err := s.left.Read(p)
	s.breaks = max(s.breaks-n, min(s.breaks, 0))
	return n, err
}

// reading follows a fake kubelet and keeps what comes.
type reading struct {
	mu    sync.Mutex
	lines []string
	old   []string // those that were logged before the start
	notes []string
	came  chan struct{}
	ready chan struct{}
	stop  func()
}

func read(t *testing.T, k *kubelet, begin startPoint) *reading {
	t.Helper()
	r := &reading{came: make(chan struct{}, 1)}
	f := &follower{
		cluster: k, selections: []logSelection{{kube.Selection{Kind: "pods"}, kube.LogContainers{}}}, startPoint: begin,
		slots: newStreamSlots(1, func(int, int) {}),
		deliver: func(l *podLine) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.lines = append(r.lines, string(l.Text))
			if l.Old {
				r.old = append(r.old, string(l.Text))
			}
			select {
			case r.came <- struct{}{}:
			default:
			}
		},
		note: func(format string, args ...any) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.notes = append(r.notes, fmt.Sprintf(format, args...))
		},
		fail: func(err error) { t.Error(err) },
	}

	ctx, cancel := context.WithCancel(t.Context())
	f.start(ctx)
	r.ready = f.ready
	r.stop = func() {
		cancel()
		f.running.Wait()
	}

	t.Cleanup(r.stop)
	<-f.ready
	return r
}

// await waits until so many lines have come.
func (r *reading) await(count int) []string {
	for {
		r.mu.Lock()
		lines := slices.Clone(r.lines)
		r.mu.Unlock()
		if len(lines) >= count {
			return lines
		}
		<-r.came
	}
}

// clock makes the lines of a log. Some have the same time, some an earlier one
// than the line before, some come a second later.
type clock struct {
	now    time.Time
	random *rand.Rand
	number int
}

func (c *clock) lines(count int) []stamped {
	var lines []stamped
	for range count {
		switch c.random.IntN(6) {
		case 0:
		case 1:
			c.now = c.now.Add(-3 * time.Microsecond)
		case 2:
			c.now = c.now.Add(time.Second)
		default:
			c.now = c.now.Add(20 * time.Microsecond)
		}

		c.number++
		lines = append(lines, stamped{c.now, fmt.Sprint("line ", c.number)})
	}

	return lines
}

// TestSourceOnce: whatever breaks, each line comes once and in order.
func TestSourceOnce(t *testing.T) {
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			k := newKubelet(seed)
			c := &clock{now: time.Unix(1_700_000_000, 999_000_000), random: rand.New(rand.NewPCG(seed, 2))}
			k.log(stamped{c.now.Add(-time.Second), "old"}, stamped{c.now, "old"})
			c.now = c.now.Add(time.Millisecond)
			r := read(t, k, startPoint{})
			var want []string
			for round := range 12 {
				lines := c.lines(1 + c.random.IntN(40))
				for _, l := range lines {
					want = append(want, l.text)
				}
				k.log(lines...)
				if r.await(len(want)); round%4 == 3 {
					c.now = c.now.Add(time.Millisecond)
					k.restart(1)
				}
			}

			k.stop()
			r.stop()
			if got := r.await(len(want)); !slices.Equal(got, want) {
				t.Errorf("seed %d: %d lines in %d streams, want %d; got %q, want %q", seed, len(got), k.streams, len(want), got, want)
			}
		})
	}
}

// TestSourceRestart: lines that an instance logs and ends upon come, whatever
// breaks, and so do those of an instance that lives for a moment only. The one
// between is out of the API's reach, and the user is told.
func TestSourceRestart(t *testing.T) {
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			k := newKubelet(seed)
			c := &clock{now: time.Unix(1_700_000_000, 0), random: rand.New(rand.NewPCG(seed, 2))}
			r := read(t, k, startPoint{})
			count := 0
			for restarts := range 5 {
				lines := c.lines(20)
				count += len(lines)
				k.log(lines...)
				if restarts > 0 {
					r.await(count - 10)
				}
				c.now = c.now.Add(time.Second)
				k.restart(1)
				time.Sleep(10 * time.Second)
			}

			for i, text := range r.await(count) {
				if want := fmt.Sprint("line ", i+1); text != want {
					t.Fatalf("seed %d: line %d is %q, want %q", seed, i+1, text, want)
				}
			}

			k.restart(3)
			synctest.Wait()
			time.Sleep(10 * time.Second)
			r.stop()
			if got := r.await(count); len(got) != count {
				t.Errorf("seed %d: %d lines, want %d", seed, len(got), count)
			}

			told := slices.DeleteFunc(r.notes, func(note string) bool { return !strings.Contains(note, "restarted 3 times in a row") })
			if len(told) != 1 {
				t.Errorf("seed %d: %d notes on the instances that were missed, want 1", seed, len(told))
			}
		})
	}
}

// TestSourceSilentRestart: the kubelet gives the next instance's log before the
// API tells of it, and that one is silent. What the one before ended with comes
// all the same.
func TestSourceSilentRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKubelet(1)
		now := time.Unix(1_700_000_000, 0)
		k.log(stamped{now, "old"})
		k.opening = sync.OnceFunc(func() {
			k.log(stamped{now.Add(time.Millisecond), "last words"})
			k.change(func() { k.instances = append(k.instances, nil) })
		})
		r := read(t, k, startPoint{})
		synctest.Wait()
		k.watch.Changed(k.pod())
		if got := r.await(1); got[0] != "last words" {
			t.Errorf("lines %q, want the last words of the first instance", got)
		}
	})
}

// TestSourceLateRestart: a container that comes after the start has restarted before the API tells of
// it, and the kubelet gives the second instance's log. The first one's lines come all the same, and
// first.
func TestSourceLateRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKubelet(1)
		k.whole, k.comesLate = true, true
		now := time.Unix(1_700_000_000, 0)
		r := read(t, k, startPoint{})
		first := k.pod()
		k.log(stamped{now, "one"}, stamped{now.Add(time.Millisecond), "two"})
		k.change(func() { k.instances = append(k.instances, []stamped{{now.Add(time.Second), "three"}}) })
		k.watch.Changed(first)

		time.Sleep(time.Second)
		k.watch.Changed(k.pod())
		if got, want := r.await(3), []string{"one", "two", "three"}; !slices.Equal(got, want) {
			t.Errorf("lines %q, want %q", got, want)
		}
	})
}
