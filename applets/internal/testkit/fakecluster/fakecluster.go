// Package fakecluster is a cluster with one pod, for tests of commands on the
// laptop that need no API server. It answers what package containers asks.
package fakecluster

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"kdiag/kube"
	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Fake is a cluster with the pod default/web, whose containers app and other run. What is
// nil or empty of its fields answers as a cluster does where all is well.
type Fake struct {
	// FindErr is FindPod's error.
	FindErr error
	// Profile is the one that a shell container gets.
	Profile kube.Profile
	// RunExec is what runs in the container; the number counts calls from 1.
	RunExec func(ctx context.Context, call int, e kube.ExecRequest) error
	// HasEnded says that the last container has ended.
	HasEnded bool
	// Restarts is how often the target turns out to have restarted.
	Restarts int
	// NetFound says that a net container was there before it was asked for.
	NetFound bool
	// Line is what the net manager prints, and Dial connects to it.
	Line string
	Dial func() (net.Conn, error)
	// Gone is what CheckGone returns, if it is not nil.
	Gone func() error
	// Replicas is how many pods ChoosePod says that there are, and Service what GetService returns.
	Replicas int
	Service  *corev1.Service
	// Watch is what WatchPods and WatchNamedPod do; nil for nothing until ctx ends.
	Watch func(ctx context.Context, w kube.PodWatch) error
	// PeersKnown are what Peers returns.
	PeersKnown kube.Peers

	mu     sync.Mutex
	shells []kube.ShellRequest
	nets   []kube.NetRequest
	execs  []kube.ExecRequest

	endedAsked, goneAsked int
}

// KeepHome keeps the user's key and records of a test out of the real home.
func KeepHome(t *testing.T) {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", home)
}

// FindPod returns the pod.
func (c *Fake) FindPod(context.Context, kube.Selection) (*corev1.Pod, error) {
	if c.FindErr != nil {
		return nil, c.FindErr
	}

	running := func(name, id string) corev1.ContainerStatus {
		return corev1.ContainerStatus{
			Name: name, ContainerID: "containerd://" + id, Ready: true,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
		}
	}

	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "1"},
		Spec: corev1.PodSpec{
			NodeName:   "node",
			Containers: []corev1.Container{{Name: "app", Image: "app"}, {Name: "other", Image: "other"}},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning,
			ContainerStatuses: []corev1.ContainerStatus{
				running("app", "aaaaaaaaaaaaaaaa"), running("other", "bbbbbbbbbbbbbbbb"),
			},
		},
	}, nil
}

// ChoosePod returns the pod, which is one of Replicas.
func (c *Fake) ChoosePod(ctx context.Context, s kube.Selection) (*corev1.Pod, int, error) {
	pod, err := c.FindPod(ctx, s)
	return pod, c.Replicas, err
}

// GetService returns Service.
func (c *Fake) GetService(context.Context, string) (*corev1.Service, error) {
	if c.Service == nil {
		return nil, errors.New("no such service")
	}
	return c.Service, nil
}

// ServiceDestinations returns none.
func (c *Fake) ServiceDestinations(context.Context, string, string, uint16) ([]netip.AddrPort, error) {
	return nil, nil
}

// WatchPods calls Watch, or lists the pod and waits until ctx ends.
func (c *Fake) WatchPods(ctx context.Context, s kube.Selection, w kube.PodWatch) error {
	if c.Watch != nil {
		return c.Watch(ctx, w)
	}

	pod, err := c.FindPod(ctx, s)
	if err != nil {
		return err
	}
	w.Changed(pod)
	w.Listed()
	<-ctx.Done()
	return context.Cause(ctx)
}

// WatchNamedPod calls Watch, or waits until ctx ends.
func (c *Fake) WatchNamedPod(ctx context.Context, _ *corev1.Pod, w kube.PodWatch) {
	if c.Watch != nil {
		_ = c.Watch(ctx, w)
		return
	}
	<-ctx.Done()
}

// AwaitContainer finds a container without waiting for it.
func (c *Fake) AwaitContainer(_ context.Context, pod *corev1.Pod, name string, _ func(string)) (kube.TargetContainer, error) {
	return kube.PickContainer(pod, name)
}

// TargetChanged returns Restarts, one less each time.
func (c *Fake) TargetChanged(context.Context, kube.TargetContainer, time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Restarts--
	return c.Restarts >= 0
}

// EnsureShell notes the request and returns a new container.
func (c *Fake) EnsureShell(_ context.Context, r kube.ShellRequest) (kube.Injected, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shells = append(c.shells, r)
	if r.Progress != nil {
		r.Progress("pulling the image")
	}

	profile := c.Profile
	if profile == "" {
		profile = kube.FirstChoice
	}

	return kube.Injected{Name: "kdiag-shell-app-abcde", Profile: profile, Created: true, IdleTimeout: time.Minute}, nil
}

// EnsureNet notes the request and returns a new container.
func (c *Fake) EnsureNet(_ context.Context, r kube.NetRequest) (kube.Injected, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nets = append(c.nets, r)
	return kube.Injected{Name: "kdiag-net-abcde", Created: !c.NetFound, IdleTimeout: time.Minute}, nil
}

// EnsureCapture returns a new container.
func (c *Fake) EnsureCapture(context.Context, kube.CaptureRequest) (kube.Injected, error) {
	return kube.Injected{Name: "kdiag-capture-abcde", Profile: kube.ProfileRaw, Created: true, IdleTimeout: time.Minute}, nil
}

// Exec notes the command, says that it is open, and runs RunExec.
func (c *Fake) Exec(ctx context.Context, e kube.ExecRequest) error {
	c.mu.Lock()
	c.execs = append(c.execs, e)
	call := len(c.execs)
	c.mu.Unlock()

	var err error
	if c.RunExec != nil {
		err = c.RunExec(ctx, call, e)
	}
	return endRelay(e, err)
}

// WithoutRelay is the end of an exec for which no relay is to speak: its launcher has failed, or
// RunExec has said what the relay would.
type WithoutRelay struct{ error }

// NewWithoutRelay returns one with an exit code.
func NewWithoutRelay(code int) *WithoutRelay {
	return &WithoutRelay{&kube.CommandExitError{Code: code}}
}

func (w *WithoutRelay) Unwrap() error { return w.error }

// endRelay says how a shell ended, where its relay would.
func endRelay(e kube.ExecRequest, err error) error {
	var silent *WithoutRelay
	if errors.As(err, &silent) {
		return silent.error
	}

	var exit *kube.CommandExitError
	if err != nil && !errors.As(err, &exit) || !slices.Contains(e.Command, "--relay") || e.Sizes != nil {
		return err
	}

	code := 0
	if exit != nil {
		code = exit.Code
	}
	_, writeErr := e.Stdout.Write(wire.AppendRelayHead([]byte(wire.RelayGreeting), wire.RelayExit, code))
	return errors.Join(err, writeErr)
}

// ContainerEnded returns HasEnded, and counts.
func (c *Fake) ContainerEnded(context.Context, string, string, string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endedAsked++
	return c.HasEnded
}

// EndedAsked returns how often ContainerEnded was called.
func (c *Fake) EndedAsked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.endedAsked
}

// NodeAddresses knows none.
func (c *Fake) NodeAddresses(context.Context, *corev1.Pod) []netip.Addr { return nil }

// CheckGone calls Gone, and counts.
func (c *Fake) CheckGone(context.Context, *corev1.Pod, string) error {
	c.mu.Lock()
	c.goneAsked++
	c.mu.Unlock()
	if c.Gone == nil {
		return nil
	}
	return c.Gone()
}

// GoneAsked returns how often CheckGone was called.
func (c *Fake) GoneAsked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.goneAsked
}

// WaitForReadyLine returns Line.
func (c *Fake) WaitForReadyLine(context.Context, string, string, string) ([]byte, error) {
	return []byte(c.Line), nil
}

// PortForward calls Dial.
func (c *Fake) PortForward(context.Context, string, string, uint16, time.Duration) (net.Conn, error) {
	if c.Dial == nil {
		return nil, errors.New("no port-forward")
	}
	return c.Dial()
}

// ListPeers returns PeersKnown.
func (c *Fake) ListPeers(context.Context) (kube.Peers, []string) { return c.PeersKnown, nil }

// Shells returns the requests for shell containers so far.
func (c *Fake) Shells() []kube.ShellRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]kube.ShellRequest(nil), c.shells...)
}

// Nets returns the requests for net containers so far.
func (c *Fake) Nets() []kube.NetRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]kube.NetRequest(nil), c.nets...)
}

// Execs returns the commands so far.
func (c *Fake) Execs() []kube.ExecRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]kube.ExecRequest(nil), c.execs...)
}
