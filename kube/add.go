package kube

import (
	"context"
	"errors"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// add adds the container of the first profile that the cluster admits, and
// leaves so that it can do its job. A request that is refused makes nothing, so
// each is its own trial: a dry run before it would only cost a round trip.
func (c *Cluster) add(ctx context.Context, i injection) (Injected, *corev1.Pod, error) {
	made := Injected{Created: true}
	var last setback
	doubt := false
	for n, profile := range i.profiles {
		asked, pod, refused, err := c.addOne(ctx, i, profile, doubt)
		var changed *ChangedError
		switch {
		case err != nil:
			return Injected{}, nil, c.injectError(ctx, i.pod, err)
		case refused.by == byNobody:
			i.tellChange(profile, mutationOf(pod, asked).changes())
			made.Name, made.Profile, made.IdleTimeout = asked.Name, profile, i.managerFor(profile).IdleTimeout
			return made, pod, nil
		case errors.As(refused.err, &changed):
			doubt = true
			if n+1 < len(i.profiles) {
				i.tellChange(profile, changed.Changes, i.profiles[n+1])
			}
		case n == 0:
			made.Refused = oneLine(refused.err.Error())
		}

		last = refused
	}

	return Injected{}, nil, &Error{Doing: i.doing(), Err: last.err, Next: i.hint(ctx, c, i, last)}
}

// tellChange tells the user what the cluster changed of a profile's container,
// and which is tried next where it is of no use so.
func (i injection) tellChange(profile Profile, changes []string, next ...Profile) {
	if len(changes) == 0 || i.notice == nil {
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

	i.notice(oneLine(note))
}

// addOne adds the container of one profile, or returns why there is none that
// can be used. Nothing takes a container out of a pod again: where the cluster
// has changed one of this profile, or of another one just now, a dry run is
// made first.
func (c *Cluster) addOne(ctx context.Context, i injection, profile Profile, doubt bool) (corev1.EphemeralContainer, *corev1.Pod, setback, error) {
	asked := i.newContainer(profile)
	spoilt := i.spoiltOf(profile)
	if spoilt != nil || doubt {
		back, err := c.try(ctx, i, profile)
		if apierrors.IsBadRequest(err) {
			// A webhook that takes no dry runs: what is in the pod has to do.
			back, _ = spoilt.setback()
			err = nil
		}
		if err != nil || back.by != byNobody {
			return asked, nil, back, err
		}
	}

	pod, err := c.patchEphemeral(ctx, c.core, i.pod, asked)
	if err != nil {
		by := c.refuser(ctx, i.pod, err)
		if by != byNobody {
			return asked, nil, setback{by, err}, nil
		}
		return asked, nil, setback{}, err
	}

	if back, is := mutationOf(pod, asked).check(asked.Name).setback(); is {
		// For another kdiag of this user's, which waits its turn.
		entry := i.entry(Injected{Name: asked.Name, Profile: profile})
		entry.Spoilt = true
		i.ledger.add(i.pod.UID, entry)
		return asked, pod, back, nil
	}

	return asked, pod, setback{}, nil
}

// spoiltOf is what the cluster made of a container of this profile that is in
// the pod already, whoever it is for; nil where there is none that it spoilt.
func (i injection) spoiltOf(profile Profile) *ChangedError {
	for n := range i.pod.Spec.EphemeralContainers {
		container := &i.pod.Spec.EphemeralContainers[n]
		m, ok := managerOf(container)
		switch {
		case !ok && strings.HasPrefix(container.Name, i.manager.namePrefix()):
			m = i.managerFor(profile) // its arguments were changed
		case !ok, m.Role != i.manager.Role, m.Profile != profile:
			continue
		}

		if spoilt := i.spoilt(container, m); spoilt != nil {
			return spoilt
		}
	}

	return nil
}

// spoilt is what the cluster made of a container with the manager m; nil where
// it can do its job.
func (i injection) spoilt(got *corev1.EphemeralContainer, m Manager) *ChangedError {
	asked := i.container(got.Name, m)
	asked.TargetContainerName = m.Target
	if _, ok := managerOf(got); ok {
		// Another user's, version's or time-out's are no change.
		asked.Args = got.Args
	}
	return mutation{i.pod, &asked, got}.check(got.Name)
}

func injectRight(pod *corev1.Pod) access {
	return patchEphemeral.in(pod.Namespace, pod.Name)
}

func (c *Cluster) injectError(ctx context.Context, pod *corev1.Pod, err error) error {
	doing := "add an ephemeral container to pod " + pod.Namespace + "/" + pod.Name
	switch {
	case apierrors.IsNotFound(err) && isForeign(err):
		// The pod was there a moment ago, so either it went or the
		// subresource is missing (Kubernetes before 1.25, KEP-277).
		if _, getErr := get[corev1.Pod](ctx, c.pods(pod.Namespace), pod.Name); getErr == nil {
			return &Error{Doing: doing, Err: err, Next: "kdiag needs Kubernetes 1.25 or later"}
		}
	case apierrors.IsInternalError(err) && !isForeign(err):
		return &Error{Doing: doing, Err: err, Next: "if it names an admission webhook, that does not answer: ask who runs it " +
			"(kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations)"}
	}

	return c.explain(ctx, doing, injectRight(pod), err)
}

// shellHint finds out by dry runs what the cluster would admit of the profiles
// that were not asked for.
func shellHint(ctx context.Context, c *Cluster, i injection, why setback) string {
	if why.by == byValidation {
		return why.whom(i.pod.Namespace)
	}

	var pass []Profile
	for _, profile := range everyProfile {
		if slices.Contains(i.profiles, profile) {
			continue
		}
		if refused, err := c.try(ctx, i, profile); err == nil && refused.by == byNobody {
			pass = append(pass, profile)
		}
	}

	if len(pass) == 0 {
		return why.whom(i.pod.Namespace)
	}

	hint := "admitted here: --profile=" + strings.Join(profileNames(pass), ", --profile=")
	if slices.Contains(ladder, pass[0]) {
		hint += " (or auto)"
	}

	return hint
}

// netHint says what a net container cannot do without.
func netHint(_ context.Context, _ *Cluster, i injection, why setback) string {
	switch why.by {
	case byValidation:
		return why.whom(i.pod.Namespace)
	case byAdmission:
		return "redirects need the capability NET_ADMIN, which Pod Security admits at the level privileged alone: " + why.whom(i.pod.Namespace)
	}
	return "redirects need a container with the capability NET_ADMIN, which runs as root: " + why.whom(i.pod.Namespace)
}
