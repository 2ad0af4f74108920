// Package containers finds a pod, makes sure that one of kdiag's containers runs
// in it, and enters that container or opens a session with the manager in it. A Shell is
// the handle on a shell container, a Net the one on a net container.
package containers

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/statusline"
	"kdiag/kube"
	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
)

// API is what the handles ask of the API. *kube.Cluster is the real one.
type API interface {
	FindPod(ctx context.Context, s kube.Selection) (*corev1.Pod, error)
	ChoosePod(ctx context.Context, s kube.Selection) (pod *corev1.Pod, of int, err error)
	AwaitContainer(ctx context.Context, pod *corev1.Pod, name string, waiting func(string)) (kube.TargetContainer, error)
	TargetChanged(ctx context.Context, target kube.TargetContainer, wait time.Duration) bool
	EnsureShell(ctx context.Context, r kube.ShellRequest) (kube.Injected, error)
	EnsureNet(ctx context.Context, r kube.NetRequest) (kube.Injected, error)
	EnsureCapture(ctx context.Context, r kube.CaptureRequest) (kube.Injected, error)
	Exec(ctx context.Context, e kube.ExecRequest) error
	ContainerEnded(ctx context.Context, namespace, pod, container string) bool
	NodeAddresses(ctx context.Context, pod *corev1.Pod) []netip.Addr
	CheckGone(ctx context.Context, pod *corev1.Pod, container string) error
	WaitForReadyLine(ctx context.Context, namespace, pod, container string) ([]byte, error)
	PortForward(ctx context.Context, namespace, pod string, port uint16, openTimeout time.Duration) (net.Conn, error)
}

// Request says which pod is meant, and what kind of container is to run there.
type Request struct {
	Pod kube.Selection
	// Container is the one that the user named; empty for the pod's default.
	Container string
	// CheckPod is called with the pod that a Net handle has found, before anything is added to it.
	// Its error ends the attempt. It may be nil.
	CheckPod func(ctx context.Context, pod *corev1.Pod) error
	// Image and PullPolicy are of kdiag's own container.
	Image      string
	PullPolicy corev1.PullPolicy
	// Profile is a shell container's.
	Profile kube.Profile
	// Version is this kdiag's.
	Version string
	// Reason is the user's own word on what the container is for; may be empty.
	Reason string
	// IdleTimeout is how long the container stays after the last session; 0
	// leaves it to the profile.
	IdleTimeout time.Duration
	// Timeout bounds the wait for the container and for each connection to it.
	Timeout time.Duration
	// ExtraMemory is what the user brings along to the pod's memory, in bytes.
	ExtraMemory int64
	// HasCopy says that the command can enter a copy of a pod, by --copy.
	HasCopy bool
	// Force uses pods whose memory limit may be too small for kdiag.
	Force bool
}

// NotesTo returns messages that print a line each, and show no progress.
func NotesTo(out io.Writer) Messages {
	printNote := func(text string) { applets.Note(out, "%s", text) }
	return Messages{Note: printNote, Notice: printNote}
}

// MessagesAbove returns messages that are printed above a line, which shows the progress; or none at
// all.
func MessagesAbove(line *statusline.Line, quiet bool) Messages {
	if quiet {
		silent := func(string) {}
		return Messages{Note: silent, Notice: silent}
	}

	m := NotesTo(line.WriterAbove())
	m.Progress = line.Show
	return m
}

// Messages take what a handle has to say to the user, a text without a line's
// end each. They may be called from several goroutines.
type Messages struct {
	// Note is told what was chosen where there was a choice.
	Note func(text string)
	// Notice is told what the user should know in any case.
	Notice func(text string)
	// Progress is told what is being waited for, again and again; may be nil.
	Progress func(text string)
}

// ProgressUntil returns a Progress that says nothing more once silence has been
// called: an event of the kubelet's may come late, when the line on which it would
// be shown is the shell's.
func (m Messages) ProgressUntil() (progress func(string), silence func()) {
	var mu sync.Mutex
	ended := m.Progress == nil
	progress = func(text string) {
		mu.Lock()
		defer mu.Unlock()
		if !ended {
			m.Progress(text)
		}
	}

	return progress, func() {
		mu.Lock()
		defer mu.Unlock()
		ended = true
	}
}

// managerContainer describes the container that is to be added for a user, whose
// key has a public half.
func (r Request) managerContainer(publicKey string) kube.ManagerContainer {
	return kube.ManagerContainer{
		Image: r.Image, PullPolicy: r.PullPolicy,
		Manager: kube.Manager{User: publicKey, Version: r.Version, Reason: r.Reason, IdleTimeout: r.IdleTimeout},
	}
}

// shellRequest asks for a shell container beside a target.
func (r Request) shellRequest(publicKey string, target kube.TargetContainer) kube.ShellRequest {
	target = target.Neighbour()
	request := kube.ShellRequest{Target: target, ManagerContainer: r.managerContainer(publicKey)}
	request.Manager.Role, request.Manager.Target, request.Manager.Profile = wire.RoleShell, target.Container, r.Profile
	return request
}

// explainEnsure adds to an error of EnsureShell or EnsureNet the flag to turn,
// where there is one.
func explainEnsure(ctx context.Context, err error) error {
	var other *kube.IdleTimeoutError
	if errors.As(err, &other) {
		return &applets.UsageError{Err: applets.WithHint(err,
			"a running container cannot be changed: leave out --idle-timeout, or wait until it has ended")}
	}
	return AddTimeoutHint(ctx, err)
}

// AddTimeoutHint adds to an error the flag to turn, where it was --timeout that
// ended ctx.
func AddTimeoutHint(ctx context.Context, err error) error {
	var late *kube.TimeoutError
	if err != nil && errors.As(context.Cause(ctx), &late) {
		return applets.WithHint(err, "use --timeout to wait longer than %s", late.After)
	}
	return err
}
