package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// ShellRequest asks for a shell container beside a target.
type ShellRequest struct {
	Target     TargetContainer
	Image      string
	PullPolicy corev1.PullPolicy
	// Manager is whose container it is. Its Profile is the one wished for.
	Manager Manager
	// Ledger knows the containers that this user's kdiag made; may be nil.
	Ledger *Ledger
	// Progress is told what the kubelet is doing, in a few words; may be nil.
	Progress func(string)
	// Notice is told what the user is to know at once; may be nil.
	Notice func(string)
}

// NetRequest asks for a net container in a pod: one with the right to redirect
// the pod's connections.
type NetRequest struct {
	Pod        *corev1.Pod
	Image      string
	PullPolicy corev1.PullPolicy
	// Manager is whose container it is. It has no target and no profile.
	Manager Manager
	// Ledger knows the containers that this user's kdiag made; may be nil.
	Ledger *Ledger
	// Progress is told what the kubelet is doing, in a few words; may be nil.
	Progress func(string)
	// Notice is told what the user is to know at once; may be nil.
	Notice func(string)
}

// Injected is an ephemeral container that runs.
type Injected struct {
	Name string
	// Profile is a shell container's.
	Profile Profile
	// Created is false where a live one was found.
	Created bool
	// IdleTimeout is how long it stays with nothing to do.
	IdleTimeout time.Duration
	// Refused says why the cluster did not admit the first choice; empty when it
	// was not asked, or had nothing against it.
	Refused string
}

// EnsureShell finds the live shell container that fits a request or creates
// one, and waits until it runs.
func (c *Cluster) EnsureShell(ctx context.Context, r ShellRequest) (Injected, error) {
	return c.ensure(ctx, r.injection())
}

func (r ShellRequest) injection() injection {
	return injection{
		pod: r.Target.Pod, target: r.Target.Container, image: r.Image, pullPolicy: r.PullPolicy,
		manager: r.Manager, ledger: r.Ledger, progress: r.Progress, notice: r.Notice,
		profiles: r.Manager.Profile.candidates(),
		security: func(p Profile) *corev1.SecurityContext { return p.securityContext(r.Target) },
		hint:     shellHint,
	}
}

// EnsureNet finds the live net container that fits a request or creates one,
// and waits until it runs. It has no target: one that shares a PID namespace
// dies with the app's PID 1, and its redirects are to outlive that.
func (c *Cluster) EnsureNet(ctx context.Context, r NetRequest) (Injected, error) {
	i := r.injection()
	if err := i.ownNetwork(); err != nil {
		return Injected{}, err
	}
	return c.ensure(ctx, i)
}

// ownNetwork is nil for a pod that has a network of its own to redirect in.
func (i injection) ownNetwork() error {
	if !i.pod.Spec.HostNetwork {
		return nil
	}
	return &Error{Doing: i.doing(),
		Err:  errors.New("the pod is on the node's network (hostNetwork): its rules would be the node's"),
		Next: "choose a pod with a network of its own"}
}

func (r NetRequest) injection() injection {
	manager := r.Manager
	manager.Role, manager.Target, manager.Profile = wire.RoleNet, "", ""
	return injection{
		pod: r.Pod, image: r.Image, pullPolicy: r.PullPolicy,
		manager: manager, ledger: r.Ledger, progress: r.Progress, notice: r.Notice,
		profiles: []Profile{manager.Profile},
		security: func(Profile) *corev1.SecurityContext { return netSecurityContext() },
		hint:     netHint,
	}
}

// injection is a request for an ephemeral container of any kind.
type injection struct {
	pod *corev1.Pod
	// target is the container whose processes are to be seen; empty for none.
	target     string
	image      string
	pullPolicy corev1.PullPolicy
	manager    Manager
	ledger     *Ledger
	progress   func(string)
	notice     func(string)
	// profiles are those to try, in order; a kind that has none has the empty
	// one.
	profiles []Profile
	security func(Profile) *corev1.SecurityContext
	// hint says what to do where the cluster admits none of the profiles.
	hint func(context.Context, *Cluster, injection, setback) string
}

// doing is what is tried, for messages.
func (i injection) doing() string {
	kind := i.manager.Role + " container"
	if i.manager.Profile != "" {
		kind += " of profile " + string(i.manager.Profile)
	}
	return fmt.Sprintf("add a %s to pod %s/%s", kind, i.pod.Namespace, i.pod.Name)
}

func (c *Cluster) ensure(ctx context.Context, i injection) (Injected, error) {
	if own, ok := c.findOwn(ctx, i); ok {
		return c.reuse(ctx, i, own)
	}
	if err := isUp(i.pod); err != nil {
		return Injected{}, err
	}

	since := c.eventsFromNow(ctx, i.pod.Namespace)

	unlock := i.ledger.lock(ctx, i.pod.UID)
	if own, ok := c.findMadeMeanwhile(ctx, &i); ok {
		unlock()
		return c.reuse(ctx, i, own)
	}

	made, pod, err := c.add(ctx, i)
	if err == nil {
		i.ledger.add(pod.UID, i.entry(made))
	}

	unlock()
	if err != nil {
		return Injected{}, err
	}

	err = c.awaitRunning(ctx, pod, ownContainer{Injected: made}, since, i.progress)
	i.keepFailure(ctx, pod, made.Name, err)
	return made, err
}

// oneProcessor has Go's runtime start with a single processor: a manager and a
// launcher have no use for more, and begin with a fifth less work.
var oneProcessor = corev1.EnvVar{Name: "GOMAXPROCS", Value: "1"}

// managerFor is what the container of a profile is to run.
func (i injection) managerFor(p Profile) Manager {
	m := i.manager
	m.Profile = p
	m.IdleTimeout = cmp.Or(m.IdleTimeout, p.idleTimeout())
	return m
}

// newContainer is what a profile asks for, with a new name.
func (i injection) newContainer(p Profile) corev1.EphemeralContainer {
	manager := i.managerFor(p)
	return i.container(manager.newName(), manager)
}

// container is what is asked for, under a name, to run a manager.
func (i injection) container(name string, manager Manager) corev1.EphemeralContainer {
	return corev1.EphemeralContainer{
		EphemeralContainerCommon: corev1.EphemeralContainerCommon{
			Name:                     name,
			Image:                    i.image,
			Command:                  []string{wire.Binary},
			Args:                     manager.args(),
			Env:                      []corev1.EnvVar{oneProcessor},
			ImagePullPolicy:          i.pullPolicy,
			SecurityContext:          i.security(manager.Profile),
			TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		},
		TargetContainerName: i.target,
	}
}

// patchEphemeral adds a container to a pod by a strategic merge patch.
func (c *Cluster) patchEphemeral(ctx context.Context, client rest.Interface, pod *corev1.Pod, container corev1.EphemeralContainer, dryRun ...string) (*corev1.Pod, error) {
	body, err := json.Marshal(map[string]any{
		"spec": map[string]any{"ephemeralContainers": []corev1.EphemeralContainer{container}},
	})
	if err != nil {
		return nil, err
	}
	pods := resource{client, c.codec, "pods", pod.Namespace}
	return patch[corev1.Pod](ctx, pods, pod.Name, "ephemeralcontainers", body, metav1.PatchOptions{DryRun: dryRun})
}
