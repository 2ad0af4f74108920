package kube

import (
	"context"
	"errors"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// addFirstAdmitted adds the container of the first profile that the cluster admits, and
// leaves so that it can do its job. A request that is refused makes nothing, so
// each is its own trial: a dry run before it would only cost a round trip.
func (c *Cluster) addFirstAdmitted(ctx context.Context, request containerRequest) (Injected, *corev1.Pod, error) {
	made := Injected{Created: true}
	var last rejection
	doubt := false
	for n, profile := range request.profiles {
		asked, pod, refused, err := c.addWithProfile(ctx, request, profile, doubt)
		var changed *ChangedError
		switch {
		case err != nil:
			return Injected{}, nil, c.injectError(ctx, request.pod, err)
		case refused.by == byNobody:
			request.reportChange(profile, findMutation(pod, asked).listChanges())
			made.Name, made.Profile, made.IdleTimeout = asked.Name, profile, request.managerFor(profile).IdleTimeout
			return made, pod, nil
		case errors.As(refused.err, &changed):
			doubt = true
			if n+1 < len(request.profiles) {
				request.reportChange(profile, changed.Changes, request.profiles[n+1])
			}
		case n == 0:
			made.Refused = oneLine(refused.err.Error())
		}

		last = refused
	}

	return Injected{}, nil, &Error{Doing: request.operation(), Err: last.err, Next: request.hint(ctx, c, request, last)}
}

// reportChange tells the user what the cluster changed of a profile's container,
// and which is tried next where it is of no use so.
func (request containerRequest) reportChange(profile Profile, changes []string, next ...Profile) {
	if len(changes) == 0 || request.notice == nil {
		return
	}

	note := "the cluster changed the container"
	if profile != "" {
		note += " of profile " + string(profile)
	}

	note += ": " + strings.Join(changes, ", ")
	if len(next) > 0 {
		note += "; trying profile " + string(next[0])
	}

	request.notice(oneLine(note))
}

// addWithProfile adds the container of one profile, or returns why there is none that
// can be used. Nothing takes a container out of a pod again: where the cluster
// has changed one of this profile, or of another one just now, a dry run is
// made first.
func (c *Cluster) addWithProfile(ctx context.Context, request containerRequest, profile Profile, doubt bool) (corev1.EphemeralContainer, *corev1.Pod, rejection, error) {
	asked := request.newContainer(profile)
	spoilt := request.findUnusable(profile)
	if spoilt != nil || doubt {
		back, err := c.dryRunProfile(ctx, request, profile)
		if apierrors.IsBadRequest(err) {
			// A webhook that takes no dry runs: what is in the pod has to do.
			back, _ = spoilt.asRejection()
			err = nil
		}
		if err != nil || back.by != byNobody {
			return asked, nil, back, err
		}
	}

	pod, err := c.patchEphemeral(ctx, c.core, request.pod, asked)
	if err != nil {
		by := c.findRefuser(ctx, request.pod, err)
		if by != byNobody {
			return asked, nil, rejection{by, err}, nil
		}
		return asked, nil, rejection{}, err
	}

	if back, is := findMutation(pod, asked).checkUsable(asked.Name).asRejection(); is {
		// For another kdiag of this user's, which waits its turn.
		entry := request.newLedgerEntry(Injected{Name: asked.Name, Profile: profile})
		entry.Unusable = true
		request.ledger.addEntry(request.pod.UID, entry)
		return asked, pod, back, nil
	}

	return asked, pod, rejection{}, nil
}

// findUnusable is what the cluster made of a container of this profile that is in
// the pod already, whoever it is for; nil where there is none that it spoilt.
func (request containerRequest) findUnusable(profile Profile) *ChangedError {
	for n := range request.pod.Spec.EphemeralContainers {
		container := &request.pod.Spec.EphemeralContainers[n]
		m, ok := parseManager(container)
		switch {
		case !ok && strings.HasPrefix(container.Name, request.manager.containerPrefix()):
			m = request.managerFor(profile) // its arguments were changed
		case !ok, m.Role != request.manager.Role, m.Profile != profile:
			continue
		}

		if spoilt := request.checkUsable(container, m); spoilt != nil {
			return spoilt
		}
	}

	return nil
}

// checkUsable is what the cluster made of a container with the manager m; nil where
// it can do its job.
func (request containerRequest) checkUsable(got *corev1.EphemeralContainer, m Manager) *ChangedError {
	asked := request.buildContainer(got.Name, m)
	asked.TargetContainerName = m.Target
	if _, ok := parseManager(got); ok {
		// Another user's, version's or time-out's are no change.
		asked.Args = got.Args
	}
	return mutation{request.pod, &asked, got}.checkUsable(got.Name)
}

func injectRight(pod *corev1.Pod) accessRight {
	return patchEphemeral.scopedTo(pod.Namespace, pod.Name)
}

func (c *Cluster) injectError(ctx context.Context, pod *corev1.Pod, err error) error {
	doing := "add an ephemeral container to pod " + pod.Namespace + "/" + pod.Name
	switch {
	case apierrors.IsNotFound(err) && isForeign(err):
		// The pod was there a moment ago, so either it went or the
		// subresource is missing (Kubernetes before 1.25, KEP-277).
		if _, getErr := getObject[corev1.Pod](ctx, c.pods(pod.Namespace), pod.Name); getErr == nil {
			return &Error{Doing: doing, Err: err, Next: "kdiag needs Kubernetes 1.25 or later"}
		}
	case apierrors.IsInternalError(err) && !isForeign(err):
		return &Error{Doing: doing, Err: err, Next: "if the message names an admission webhook, it did not respond: ask whoever runs it " +
			"(kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations)"}
	}

	return c.explainError(ctx, doing, injectRight(pod), err)
}

// shellHint finds out by dry runs what the cluster would admit of the profiles
// that were not asked for.
func shellHint(ctx context.Context, c *Cluster, request containerRequest, why rejection) string {
	if why.by == byValidation {
		return why.hintWhomToAsk(request.pod.Namespace)
	}

	var pass []Profile
	for _, profile := range allProfiles {
		if slices.Contains(request.profiles, profile) {
			continue
		}
		if refused, err := c.dryRunProfile(ctx, request, profile); err == nil && refused.by == byNobody {
			pass = append(pass, profile)
		}
	}

	if len(pass) == 0 {
		return why.hintWhomToAsk(request.pod.Namespace)
	}

	hint := "admitted here: --profile=" + strings.Join(profileNames(pass), ", --profile=")
	if slices.Contains(autoProfiles, pass[0]) {
		hint += " (or auto)"
	}

	return hint
}

// netHint says what a net container cannot do without.
func netHint(_ context.Context, _ *Cluster, request containerRequest, why rejection) string {
	switch why.by {
	case byValidation:
		return why.hintWhomToAsk(request.pod.Namespace)
	case byAdmission:
		return "redirects need the capability NET_ADMIN, which Pod Security admits at the level privileged alone: " + why.hintWhomToAsk(request.pod.Namespace)
	}
	return "redirects need a container with the capability NET_ADMIN, which runs as root: " + why.hintWhomToAsk(request.pod.Namespace)
}
