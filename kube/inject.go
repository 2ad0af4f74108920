package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// ShellRequest asks for a shell container beside a target.
type ShellRequest struct {
	Target     Target
	Image      string
	PullPolicy corev1.PullPolicy
	// Manager is whose container it is. Its Profile is the one wished for.
	Manager Manager
	// Progress is told what the kubelet is doing, in a few words; may be nil.
	Progress func(string)
}

// Injected is an ephemeral container that runs.
type Injected struct {
	Name    string
	Profile Profile
	// Created is false where a live one was found.
	Created bool
	// Refused says why the cluster did not admit a better profile; empty when
	// it was not asked, or had nothing against it.
	Refused string
}

// EnsureShell finds the live shell container that fits a request or creates
// one, and waits until it runs.
func (c *Cluster) EnsureShell(ctx context.Context, r ShellRequest) (Injected, error) {
	pod := r.Target.Pod
	if found, ok := r.existing(pod); ok {
		if status := statusOf(pod, found.Name); status != nil && status.State.Running != nil {
			return found, nil
		}
		return found, c.awaitRunning(ctx, pod, found.Name, false, r.Progress)
	}
	made, pod, err := c.createShell(ctx, r)
	if err != nil {
		return Injected{}, err
	}
	return made, c.awaitRunning(ctx, pod, made.Name, true, r.Progress)
}

// existing is the request's own container, the best one where there are more:
// running, or about to be.
func (r ShellRequest) existing(pod *corev1.Pod) (Injected, bool) {
	best := -1
	var found Injected
	for i := range pod.Spec.EphemeralContainers {
		container := &pod.Spec.EphemeralContainers[i]
		m, ok := managerOf(container)
		rung := slices.Index(ladder, m.Profile)
		switch {
		case !ok, rung < 0, !m.sameOwner(r.Manager), container.Image != r.Image:
			continue
		case r.Manager.Profile != ProfileAuto && m.Profile != r.Manager.Profile:
			continue
		case ended(pod, container.Name), best >= 0 && rung >= best:
			continue
		}
		best = rung
		found = Injected{Name: container.Name, Profile: m.Profile}
	}
	return found, best >= 0
}

func ended(pod *corev1.Pod, container string) bool {
	status := statusOf(pod, container)
	return status != nil && status.State.Terminated != nil
}

// createShell adds the shell container of the best profile that the cluster
// admits. A request that is refused makes nothing, so each is its own trial: a
// dry run before it would only cost a round trip.
func (c *Cluster) createShell(ctx context.Context, r ShellRequest) (Injected, *corev1.Pod, error) {
	var refused []error
	for _, profile := range r.Manager.Profile.first() {
		patch, name, err := r.patch(profile)
		if err != nil {
			return Injected{}, nil, err
		}
		pod, err := c.patchEphemeral(ctx, c.core, r.Target.Pod, patch)
		if err != nil {
			if isRefusal(err) && c.allowed(ctx, injectRight(r.Target.Pod)) {
				refused = append(refused, err)
				continue
			}
			return Injected{}, nil, c.injectError(ctx, r.Target, err)
		}
		made := Injected{Name: name, Profile: profile, Created: true}
		if len(refused) > 0 {
			made.Refused = oneLine(refused[0].Error())
		}
		return made, pod, nil
	}
	return Injected{}, nil, c.refusedError(ctx, r, refused[0])
}

// isRefusal reports whether an admission plugin or policy said no: it answers
// 403, or 422 where a ValidatingAdmissionPolicy gives no other reason.
func isRefusal(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err)
}

func injectRight(pod *corev1.Pod) access {
	return access{verb: "patch", resource: "pods", subresource: "ephemeralcontainers", namespace: pod.Namespace, name: pod.Name}
}

func (c *Cluster) injectError(ctx context.Context, t Target, err error) error {
	doing := "add an ephemeral container to pod " + t.Pod.Namespace + "/" + t.Pod.Name
	if apierrors.IsNotFound(err) {
		// The pod was there a moment ago, so either it went or the
		// subresource is missing (Kubernetes before 1.25, KEP-277).
		if _, getErr := get[corev1.Pod](ctx, c.pods(t.Pod.Namespace), t.Pod.Name); getErr == nil {
			return &Error{Doing: doing, Err: err, Next: "kdiag needs Kubernetes 1.25 or later"}
		}
	}
	return c.explain(ctx, doing, injectRight(t.Pod), err)
}

// refusedError is for a pod in which the cluster admits none of the profiles
// that were asked for. It finds out what would be admitted.
func (c *Cluster) refusedError(ctx context.Context, r ShellRequest, first error) error {
	failure := &Error{
		Doing: fmt.Sprintf("add a shell container of profile %s to pod %s/%s", r.Manager.Profile, r.Target.Pod.Namespace, r.Target.Pod.Name),
		Err:   first,
		Next:  "ask who sets the namespace's policies: kubectl get ns " + r.Target.Pod.Namespace + " --show-labels",
	}
	var pass []Profile
	for _, profile := range ladder {
		if slices.Contains(r.Manager.Profile.first(), profile) {
			continue
		}
		patch, _, err := r.patch(profile)
		if err != nil {
			break
		}
		if _, err = c.patchEphemeral(ctx, c.dry, r.Target.Pod, patch, metav1.DryRunAll); err == nil {
			pass = append(pass, profile)
		}
	}
	if len(pass) > 0 {
		failure.Next = "admitted here: --profile=" + strings.Join(profileNames(pass), ", --profile=") + " (or auto)"
	}
	return failure
}

// oneProcessor has Go's runtime start with a single processor: a manager and a
// launcher have no use for more, and begin with a fifth less work.
var oneProcessor = corev1.EnvVar{Name: "GOMAXPROCS", Value: "1"}

// patch is a strategic merge patch that adds the container, and its name.
func (r ShellRequest) patch(p Profile) (patch []byte, name string, err error) {
	manager := r.Manager
	manager.Profile = p
	container := corev1.EphemeralContainer{
		EphemeralContainerCommon: corev1.EphemeralContainerCommon{
			Name:                     manager.newName(),
			Image:                    r.Image,
			Command:                  []string{Binary},
			Args:                     manager.args(),
			Env:                      []corev1.EnvVar{oneProcessor},
			ImagePullPolicy:          r.PullPolicy,
			SecurityContext:          p.securityContext(r.Target),
			TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		},
		TargetContainerName: r.Target.Container,
	}
	patch, err = json.Marshal(map[string]any{
		"spec": map[string]any{"ephemeralContainers": []corev1.EphemeralContainer{container}},
	})
	return patch, container.Name, err
}

func (c *Cluster) patchEphemeral(ctx context.Context, client rest.Interface, pod *corev1.Pod, body []byte, dryRun ...string) (*corev1.Pod, error) {
	pods := resource{client, c.codec, "pods", pod.Namespace}
	return patch[corev1.Pod](ctx, pods, pod.Name, "ephemeralcontainers", body, metav1.PatchOptions{DryRun: dryRun})
}
