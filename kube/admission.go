package kube

import (
	"context"
	"fmt"
	"sync"

	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Admission describes what the cluster would admit of a request for a container.
type Admission struct {
	// Profile is the profile of the shell container; empty for a net container.
	Profile Profile
	// Refused says why the cluster does not admit the first choice; empty if it does.
	Refused string
	// Changed is a container that the pod has and the cluster changed so that it cannot work,
	// although it would admit such a one now; nil for none.
	Changed *ChangedError
}

// RefusedError reports that admission refuses the container with every profile asked for.
// Any other error of a dry run says nothing about admission.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return e.Err.Error() }
func (e *RefusedError) Unwrap() error { return e.Err }

// AdmitsShell finds by dry run the first profile with which the cluster would admit a shell
// container. It returns a *RefusedError if there is none.
func (c *Cluster) AdmitsShell(ctx context.Context, r ShellRequest) (Admission, error) {
	return c.findAdmitted(ctx, r.containerRequest())
}

// AdmitsNet finds out by dry run whether the cluster would admit a net container.
func (c *Cluster) AdmitsNet(ctx context.Context, r NetRequest) (Admission, error) {
	request := r.containerRequest()
	if err := c.checkRedirectable(ctx, request); err != nil {
		return Admission{}, &RefusedError{err}
	}
	return c.findAdmitted(ctx, request)
}

// AdmitsCapture finds out by dry run whether the cluster would admit a capture container.
func (c *Cluster) AdmitsCapture(ctx context.Context, r CaptureRequest) (Admission, error) {
	if err := r.checkOwnNetwork(); err != nil {
		return Admission{}, &RefusedError{err}
	}
	return c.findAdmitted(ctx, r.containerRequest())
}

// findAdmitted tries all profiles of a request at once, and returns the first in their
// order that the cluster would admit.
func (c *Cluster) findAdmitted(ctx context.Context, request containerRequest) (Admission, error) {
	refused := make([]rejection, len(request.profiles))
	failed := make([]error, len(request.profiles))
	var tried sync.WaitGroup
	for n, profile := range request.profiles {
		tried.Go(func() { refused[n], failed[n] = c.dryRunProfile(ctx, request, profile) })
	}
	tried.Wait()

	for n, profile := range request.profiles {
		switch {
		case failed[n] != nil:
			return Admission{}, c.injectError(ctx, request.pod, failed[n])
		case refused[n].by == byNobody && n == 0:
			return Admission{Profile: profile, Changed: request.findUnusable(profile)}, nil
		case refused[n].by == byNobody:
			return Admission{profile, wire.OneLine(refused[0].err.Error()), request.findUnusable(profile)}, nil
		}
	}

	last := refused[len(refused)-1]
	return Admission{}, &RefusedError{&Error{Doing: request.operation(), Err: last.err, Next: request.hint(ctx, c, request, last)}}
}

// dryRunProfile asks by dry run whether the cluster would admit a container of a profile
// and leave it usable.
func (c *Cluster) dryRunProfile(ctx context.Context, request containerRequest, profile Profile) (rejection, error) {
	asked := request.newContainer(profile)
	pod, err := c.patchEphemeral(ctx, c.dryRun, request.pod, asked, metav1.DryRunAll)
	if err == nil {
		refused, _ := findMutation(pod, asked).checkUsable("").asRejection()
		return refused, nil
	}

	by := c.findRefuser(ctx, request.pod, err)
	if by == byNobody || by == byAdmission && apierrors.IsBadRequest(err) {
		// The server uses the same status when a webhook does not support dry runs.
		return rejection{}, err
	}

	return rejection{by, err}, nil
}

// enforceLabel names the label that sets a namespace's Pod Security level (KEP-2579).
const enforceLabel = "pod-security.kubernetes.io/enforce"

// ReadPodSecurityLevel reads the Pod Security level from the label of the cluster's
// namespace. It returns "" for a namespace without the label, where the API server's own
// default applies: "privileged", unless an administrator changed it.
func (c *Cluster) ReadPodSecurityLevel(ctx context.Context) (string, error) {
	namespace, err := getObject[corev1.Namespace](ctx, c.namespaces(), c.Namespace)
	if err != nil {
		right := accessRight{verb: "get", resource: "namespaces", name: c.Namespace}
		return "", c.explainError(ctx, fmt.Sprintf("read namespace %q", c.Namespace), right, err)
	}
	return namespace.Labels[enforceLabel], nil
}

// ProfileAtLevel returns the profile that auto ends up with at a Pod Security level, and
// whether that level admits a net container.
func ProfileAtLevel(level string) (taken Profile, net bool) {
	switch level {
	case "baseline":
		return ProfileBaseline, false
	case "restricted":
		return ProfileRestricted, false
	}
	return FirstChoice, true
}

// CaptureProfileAtLevel returns the profile that a capture container gets at a Pod Security level,
// and whether that level admits one.
func CaptureProfileAtLevel(level string) (taken Profile, admitted bool) {
	switch level {
	case "baseline":
		return ProfileRawDefault, true
	case "restricted":
		return "", false
	}
	return ProfileRaw, true
}
