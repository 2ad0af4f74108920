package kube

import (
	"context"
	"errors"
	"slices"
	"strings"

	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// addFirstAdmitted tries the request's profiles in order until the cluster admits one
// and leaves its container usable. A refused request creates nothing, so each attempt is
// its own trial: a dry run before it would only cost a round trip.
func (c *Cluster) addFirstAdmitted(ctx context.Context, request containerRequest) (Injected, *corev1.Pod, error) {
	made := Injected{Created: true}
	var last rejection
	dryRunFirst := false
	for n, profile := range request.profiles {
		asked, pod, refused, err := c.addWithProfile(ctx, request, profile, dryRunFirst)

		var changed *ChangedError
		switch {
		case err != nil:
			return Injected{}, nil, c.injectError(ctx, request.pod, err)
		case refused.by == byNobody:
			request.reportChange(profile, findMutation(pod, asked).listChanges())
			made.Name, made.Profile, made.IdleTimeout = asked.Name, profile, request.managerFor(profile).IdleTimeout
			return made, pod, nil
		case errors.As(refused.err, &changed):
			dryRunFirst = true
			if n+1 < len(request.profiles) {
				request.reportChange(profile, changed.Changes, request.profiles[n+1])
			}
		case n == 0:
			made.Refused = wire.OneLine(refused.err.Error())
		}

		last = refused
	}

	return Injected{}, nil, &Error{Doing: request.operation(), Err: last.err, Next: request.hint(ctx, c, request, last)}
}

// reportChange tells the user what the cluster changed in a profile's container, and
// which profile comes next if that made the container useless.
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

	request.notice(wire.OneLine(note))
}

// addWithProfile adds the container of one profile, or returns why the cluster allows no
// usable one. No container ever leaves a pod again, so it begins with a dry run if
// dryRunFirst says so, or if the pod already has an unusable container of this profile.
func (c *Cluster) addWithProfile(ctx context.Context, request containerRequest, profile Profile, dryRunFirst bool) (corev1.EphemeralContainer, *corev1.Pod, rejection, error) {
	asked := request.newContainer(profile)
	unusable := request.findUnusable(profile)
	if unusable != nil || dryRunFirst {
		refused, err := c.dryRunProfile(ctx, request, profile)
		if apierrors.IsBadRequest(err) {
			// A webhook does not support dry runs: judge by the container in the pod.
			refused, _ = unusable.asRejection()
			err = nil
		}
		if err != nil || refused.by != byNobody {
			return asked, nil, refused, err
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

	if refused, changed := findMutation(pod, asked).checkUsable(asked.Name).asRejection(); changed {
		// Another kdiag of this user may be waiting for the ledger's lock: it must not try to
		// use this container.
		entry := request.newLedgerEntry(Injected{Name: asked.Name, Profile: profile})
		entry.Unusable = true
		request.ledger.addEntry(request.pod.UID, entry)
		return asked, pod, refused, nil
	}

	return asked, pod, rejection{}, nil
}

// findUnusable finds a container of this profile in the pod, whoever owns it, that the
// cluster changed so that it cannot work. It returns nil if there is none.
func (request containerRequest) findUnusable(profile Profile) *ChangedError {
	for n := range request.pod.Spec.EphemeralContainers {
		container := &request.pod.Spec.EphemeralContainers[n]
		m, ok := parseManager(container)
		switch {
		case !ok && strings.HasPrefix(container.Name, request.manager.containerPrefix()):
			m = request.managerFor(profile) // a webhook changed its arguments
		case !ok, m.Role != request.manager.Role, m.Profile != profile:
			continue
		}

		if unusable := request.checkUsable(container, m); unusable != nil {
			return unusable
		}
	}

	return nil
}

// checkUsable compares a container of the pod with what kdiag asks for to run the manager
// m. It returns nil if the container can do its job.
func (request containerRequest) checkUsable(got *corev1.EphemeralContainer, m Manager) *ChangedError {
	asked := request.buildContainer(got.Name, m)
	asked.TargetContainerName = m.Target
	if _, ok := parseManager(got); ok {
		// Another user, version or idle timeout is not a change that admission made.
		asked.Args = got.Args
	}
	return mutation{request.pod, &asked, got}.checkUsable(got.Name)
}

// injectRight returns the right to add an ephemeral container to a pod.
func injectRight(pod *corev1.Pod) accessRight {
	return rightPatchEphemeral.scopedTo(pod.Namespace, pod.Name)
}

// injectError explains why the API server did not add a container to a pod.
func (c *Cluster) injectError(ctx context.Context, pod *corev1.Pod, err error) error {
	doing := "add an ephemeral container to pod " + pod.Namespace + "/" + pod.Name
	switch {
	case apierrors.IsNotFound(err) && isForeign(err):
		// The pod existed a moment ago: either it is gone by now, or the API server does
		// not have the subresource (Kubernetes before 1.25, KEP-277).
		if _, getErr := getObject[corev1.Pod](ctx, c.pods(pod.Namespace), pod.Name); getErr == nil {
			return &Error{Doing: doing, Err: err, Next: "kdiag needs Kubernetes 1.25 or later"}
		}
	case apierrors.IsInternalError(err) && !isForeign(err):
		return &Error{Doing: doing, Err: err,
			Next: "if the message names an admission webhook, it did not respond: ask whoever runs it " + listWebhooks}
	}

	return c.explainError(ctx, doing, injectRight(pod), err)
}

// shellHint suggests profiles that the cluster would admit. It tries by dry run those that
// the user did not ask for.
func shellHint(ctx context.Context, c *Cluster, request containerRequest, why rejection) string {
	if why.by == byValidation {
		return why.hintWhomToAsk(request.pod.Namespace)
	}

	var admitted []Profile
	for _, profile := range allProfiles {
		if slices.Contains(request.profiles, profile) {
			continue
		}
		if refused, err := c.dryRunProfile(ctx, request, profile); err == nil && refused.by == byNobody {
			admitted = append(admitted, profile)
		}
	}

	if len(admitted) == 0 {
		return why.hintWhomToAsk(request.pod.Namespace)
	}

	hint := "allowed here: --profile=" + strings.Join(profileNames(admitted), ", --profile=")
	if slices.Contains(autoProfiles, admitted[0]) {
		hint += " (or auto)"
	}

	return hint
}

// netHint names the capability that a net container needs, and whom to ask for it.
func netHint(_ context.Context, _ *Cluster, request containerRequest, why rejection) string {
	switch why.by {
	case byValidation:
		return why.hintWhomToAsk(request.pod.Namespace)
	case byAdmission:
		return "redirects need the capability NET_ADMIN, which Pod Security allows only at level privileged: " + why.hintWhomToAsk(request.pod.Namespace)
	}
	return "redirects need a container that runs as root with the capability NET_ADMIN: " + why.hintWhomToAsk(request.pod.Namespace)
}
