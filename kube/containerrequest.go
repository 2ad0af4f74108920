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

// ManagerContainer describes a container of kdiag's that is to be added to a pod.
type ManagerContainer struct {
	Image      string
	PullPolicy corev1.PullPolicy
	// Manager says whose container it is, and what it is for.
	Manager Manager
	// Ledger knows the containers that this user's kdiag made. It may be nil.
	Ledger *Ledger
	// Progress is told what the kubelet is doing, in a few words. It may be nil.
	Progress func(string)
	// Notice is told what the user should know at once. It may be nil.
	Notice func(string)
}

// ShellRequest asks for a shell container beside a target. Its manager's profile is the one
// that the user asks for.
type ShellRequest struct {
	Target TargetContainer
	ManagerContainer
}

// NetRequest asks for a net container in a pod: one that may redirect the pod's connections.
// Its manager has no target and no profile.
type NetRequest struct {
	Pod *corev1.Pod
	ManagerContainer
}

// Injected describes an ephemeral container that runs.
type Injected struct {
	Name string
	// Profile is a shell container's.
	Profile Profile
	// Created is false for a container that was there already.
	Created bool
	// IdleTimeout says how long it stays without use.
	IdleTimeout time.Duration
	// Refused says why the cluster did not admit the first choice; empty if it did or was
	// not asked.
	Refused string
}

// EnsureShell finds a shell container that can serve a request, or creates one, and waits
// until it runs.
func (c *Cluster) EnsureShell(ctx context.Context, r ShellRequest) (Injected, error) {
	return c.ensureContainer(ctx, r.containerRequest())
}

// containerRequest turns the request into one of any kind.
func (r ShellRequest) containerRequest() containerRequest {
	return containerRequest{
		pod: r.Target.Pod, target: r.Target.Container, image: r.Image, pullPolicy: r.PullPolicy,
		manager: r.Manager, ledger: r.Ledger, progress: r.Progress, notice: r.Notice,
		profiles: candidateProfiles(r.Manager.Profile),
		security: func(p Profile) *corev1.SecurityContext { return shellSecurityContext(p, r.Target) },
		hint:     shellHint,
	}
}

// EnsureNet finds a net container that can serve a request, or creates one, and waits until
// it runs. A net container has no target: with one it would share the target's PID namespace
// and die with its PID 1, and redirects must outlive that.
func (c *Cluster) EnsureNet(ctx context.Context, r NetRequest) (Injected, error) {
	request := r.containerRequest()
	if err := c.checkRedirectable(ctx, request); err != nil {
		return Injected{}, err
	}
	return c.ensureContainer(ctx, request)
}

// checkRedirectable returns an error for a pod in which nothing can be redirected.
func (c *Cluster) checkRedirectable(ctx context.Context, request containerRequest) error {
	if err := request.checkOwnNetwork(); err != nil {
		return err
	}
	return request.checkKernel(ctx, c)
}

// checkOwnNetwork returns an error for a pod without a network of its own to redirect in.
func (request containerRequest) checkOwnNetwork() error {
	if !request.pod.Spec.HostNetwork {
		return nil
	}

	return &Error{Doing: request.operation(),
		Err:  errors.New("the pod uses the node's network (hostNetwork), so redirects would affect the whole node"),
		Next: "choose a pod without hostNetwork"}
}

// containerRequest turns the request into one of any kind.
func (r NetRequest) containerRequest() containerRequest {
	manager := r.Manager
	manager.Role, manager.Target, manager.Profile = wire.RoleNet, "", ""

	return containerRequest{
		pod: r.Pod, image: r.Image, pullPolicy: r.PullPolicy,
		manager: manager, ledger: r.Ledger, progress: r.Progress, notice: r.Notice,
		profiles: []Profile{manager.Profile},
		security: func(Profile) *corev1.SecurityContext { return netSecurityContext() },
		hint:     netHint,
	}
}

// containerRequest asks for an ephemeral container of any kind.
type containerRequest struct {
	pod *corev1.Pod
	// target names the container whose processes it shall see; empty for none.
	target     string
	image      string
	pullPolicy corev1.PullPolicy
	manager    Manager
	ledger     *Ledger
	progress   func(string)
	notice     func(string)
	// profiles lists those to try, in order. For a kind without profiles it has one, which
	// is empty.
	profiles []Profile
	security func(Profile) *corev1.SecurityContext
	// hint says what to do when the cluster admits none of the profiles.
	hint func(context.Context, *Cluster, containerRequest, rejection) string
}

// operation names the operation and its object, for messages.
func (request containerRequest) operation() string {
	kind := request.manager.Role + " container"
	if request.manager.Profile != "" {
		kind += " of profile " + string(request.manager.Profile)
	}
	return fmt.Sprintf("add a %s to pod %s/%s", kind, request.pod.Namespace, request.pod.Name)
}

// ensureContainer finds a container that can serve the request, or adds one, and waits until
// it runs. It holds the ledger's lock while it adds one, so that two kdiags of one user,
// started together, do not each add their own.
func (c *Cluster) ensureContainer(ctx context.Context, request containerRequest) (Injected, error) {
	if own, ok := c.findOwn(ctx, request); ok && (own.running || request.pod.DeletionTimestamp == nil) {
		return c.reuseContainer(ctx, request, own)
	}
	if err := checkUp(request.pod); err != nil {
		return Injected{}, err
	}

	// Events count from before the request, so that none of the new container is missed.
	since := c.findEventVersion(ctx, request.pod.Namespace)

	unlock := request.ledger.lockPod(ctx, request.pod.UID)
	if own, ok := c.findMadeMeanwhile(ctx, &request); ok {
		unlock()
		return c.reuseContainer(ctx, request, own)
	}

	made, pod, err := c.addFirstAdmitted(ctx, request)
	if err == nil {
		request.ledger.addEntry(pod.UID, request.newLedgerEntry(made))
	}
	unlock()

	if err != nil {
		return Injected{}, err
	}

	err = c.waitUntilRunning(ctx, request, pod, ownContainer{Injected: made}, since)
	request.recordFailure(ctx, pod, made.Name, err)
	return made, err
}

// oneProcessor limits Go's runtime in the pod to a single processor. The manager and the
// launcher of shells need no more, and start with a fifth less work.
var oneProcessor = corev1.EnvVar{Name: "GOMAXPROCS", Value: "1"}

// managerFor returns the manager that the container of a profile runs.
func (request containerRequest) managerFor(p Profile) Manager {
	m := request.manager
	m.Profile = p
	m.IdleTimeout = cmp.Or(m.IdleTimeout, defaultIdleTimeout(p))
	return m
}

// newContainer returns the container that a profile asks for, with a new name.
func (request containerRequest) newContainer(p Profile) corev1.EphemeralContainer {
	manager := request.managerFor(p)
	return request.buildContainer(manager.newContainerName(), manager)
}

// buildContainer returns the container that kdiag asks for to run a manager, under a name.
func (request containerRequest) buildContainer(name string, manager Manager) corev1.EphemeralContainer {
	return corev1.EphemeralContainer{
		EphemeralContainerCommon: corev1.EphemeralContainerCommon{
			Name:                     name,
			Image:                    request.image,
			Command:                  []string{wire.Binary},
			Args:                     manager.arguments(),
			Env:                      []corev1.EnvVar{oneProcessor},
			ImagePullPolicy:          request.pullPolicy,
			SecurityContext:          request.security(manager.Profile),
			TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		},
		TargetContainerName: request.target,
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
	return patchObject[corev1.Pod](ctx, pods, pod.Name, "ephemeralcontainers", body, metav1.PatchOptions{DryRun: dryRun})
}
