package kube

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Admission is what the cluster would admit of a request for a container.
type Admission struct {
	// Profile is the one that a shell container would have; empty for a net
	// container, which has none.
	Profile Profile
	// Refused says why the first choice is not admitted; empty where it is.
	Refused string
}

// RefusedError is a container that admission refuses, in every profile asked
// for. Any other error of a trial says nothing on admission.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return e.Err.Error() }
func (e *RefusedError) Unwrap() error { return e.Err }

// AdmitsShell finds the first profile that the cluster would admit a shell
// container of, by dry runs that change nothing. It returns a *RefusedError if
// there is none.
func (c *Cluster) AdmitsShell(ctx context.Context, r ShellRequest) (Admission, error) {
	return c.findAdmitted(ctx, r.containerRequest())
}

// AdmitsNet finds out in the same way whether the cluster would admit a net
// container.
func (c *Cluster) AdmitsNet(ctx context.Context, r NetRequest) (Admission, error) {
	request := r.containerRequest()
	if err := request.checkOwnNetwork(); err != nil {
		return Admission{}, &RefusedError{err}
	}
	return c.findAdmitted(ctx, request)
}

// findAdmitted tries all of the profiles at once.
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
			return Admission{Profile: profile}, nil
		case refused[n].by == byNobody:
			return Admission{Profile: profile, Refused: oneLine(refused[0].err.Error())}, nil
		}
	}

	last := refused[len(refused)-1]
	return Admission{}, &RefusedError{&Error{Doing: request.operation(), Err: last.err, Next: request.hint(ctx, c, request, last)}}
}

// dryRunProfile asks by a dry run whether a container would be admitted, and left so that
// it can do its job.
func (c *Cluster) dryRunProfile(ctx context.Context, request containerRequest, profile Profile) (rejection, error) {
	asked := request.newContainer(profile)
	pod, err := c.patchEphemeral(ctx, c.dryRun, request.pod, asked, metav1.DryRunAll)
	if err == nil {
		back, _ := findMutation(pod, asked).checkUsable("").asRejection()
		return back, nil
	}

	by := c.findRefuser(ctx, request.pod, err)
	if by == byNobody || by == byAdmission && apierrors.IsBadRequest(err) {
		// In the same words a server says that a webhook takes no dry runs.
		return rejection{}, err
	}

	return rejection{by, err}, nil
}

// enforceLabel is the Pod Security level that a namespace admits (KEP-2579).
const enforceLabel = "pod-security.kubernetes.io/enforce"

// ReadPodSecurityLevel is the Pod Security level that the cluster's namespace enforces
// by its label; empty where it has none, and the API server's own default
// holds, which is "privileged" where nobody changed it.
func (c *Cluster) ReadPodSecurityLevel(ctx context.Context) (string, error) {
	namespace, err := getObject[corev1.Namespace](ctx, c.namespaces(), c.Namespace)
	if err != nil {
		right := accessRight{verb: "get", resource: "namespaces", name: c.Namespace}
		return "", c.explainError(ctx, fmt.Sprintf("read namespace %q", c.Namespace), right, err)
	}
	return namespace.Labels[enforceLabel], nil
}

// ProfileAtLevel is the profile that auto takes at a Pod Security level, and whether
// that admits a net container.
func ProfileAtLevel(level string) (taken Profile, net bool) {
	switch level {
	case "baseline":
		return ProfileBaseline, false
	case "restricted":
		return ProfileRestricted, false
	}
	return FirstChoice, true
}
