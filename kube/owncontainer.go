package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
)

// ownContainer describes a container in a pod that can serve a request: this user's kdiag
// made it for the same job, and it has not ended.
type ownContainer struct {
	Injected
	running bool
	// stuck says why it does not start; empty if it runs or is starting.
	stuck string
	// otherImage says that its image is not the one in the request. A webhook may have
	// changed it.
	otherImage bool
}

// findOwn finds a container that can serve a request. It recognizes one by the ledger,
// however admission changed it, or else by every field that kdiag asks for.
func (c *Cluster) findOwn(ctx context.Context, request containerRequest) (ownContainer, bool) {
	admittedImages := map[Profile]string{} // what admission makes of the request's image
	for _, own := range request.ownContainers(request.ledger.readEntries(request.pod.UID)) {
		if !own.otherImage {
			return own, true
		}

		// The image differs. It is right nevertheless if admission would change the request's
		// image in the same way.
		if _, known := admittedImages[own.Profile]; !known {
			admittedImages[own.Profile] = c.admittedImage(ctx, request, own.Profile)
		}
		if there := findEphemeral(request.pod, own.Name); there != nil && there.Image == admittedImages[own.Profile] {
			return own, true
		}
	}

	return ownContainer{}, false
}

// findMadeMeanwhile looks for a container that another kdiag of this user has made since the
// pod was read. It reads the pod again, into the request, if the ledger has an entry that
// the pod does not know.
func (c *Cluster) findMadeMeanwhile(ctx context.Context, request *containerRequest) (ownContainer, bool) {
	isNew := func(entry ledgerEntry) bool { return findEphemeral(request.pod, entry.Name) == nil }
	if !slices.ContainsFunc(request.ledger.readEntries(request.pod.UID), isNew) {
		return ownContainer{}, false
	}

	now, err := getObject[corev1.Pod](ctx, c.pods(request.pod.Namespace), request.pod.Name)
	if err != nil || now.UID != request.pod.UID {
		return ownContainer{}, false
	}

	request.pod = now
	return c.findOwn(ctx, *request)
}

// ownContainers lists the containers in the pod that can serve the request, best first: any
// that runs or starts before one that is stuck, then by the order of profiles, then one that
// runs before one that starts.
func (request containerRequest) ownContainers(made []ledgerEntry) []ownContainer {
	var list []ownContainer
	for n := range request.pod.Spec.EphemeralContainers {
		container := &request.pod.Spec.EphemeralContainers[n]
		own, ok := request.matchOwn(container, made)
		if ok && slices.Contains(request.profiles, own.Profile) && !hasEnded(request.pod, container.Name) {
			list = append(list, own)
		}
	}

	rankOf := func(own ownContainer) int {
		rank := 2 * slices.Index(request.profiles, own.Profile)
		switch {
		case own.stuck != "":
			rank += 2 * len(request.profiles)
		case !own.running:
			rank++
		}
		return rank
	}

	slices.SortStableFunc(list, func(a, b ownContainer) int { return cmp.Compare(rankOf(a), rankOf(b)) })
	return list
}

// matchOwn reports whether this user's kdiag made a container for the same job. It rejects
// one that is stuck if the request has another image, pull policy or idle timeout: that
// deserves a new container.
func (request containerRequest) matchOwn(container *corev1.EphemeralContainer, made []ledgerEntry) (ownContainer, bool) {
	asked, known := request.findRequest(container, made)
	if !known || !asked.Manager.hasSameOwner(request.manager) {
		return ownContainer{}, false
	}

	own := ownContainer{Injected: Injected{
		Name: container.Name, Profile: asked.Manager.Profile, IdleTimeout: asked.Manager.IdleTimeout,
	}}
	own.otherImage = asked.Image != request.image
	own.running, own.stuck = readProgress(request.pod, container.Name, asked.Failed)

	otherIdle := request.manager.IdleTimeout != 0 && request.manager.IdleTimeout != own.IdleTimeout
	if own.stuck != "" && (own.otherImage || asked.PullPolicy != request.pullPolicy || otherIdle) {
		return ownContainer{}, false
	}

	return own, true
}

// findRequest finds out what kdiag asked for when it made a container. An entry in the ledger
// tells, however admission changed the container, but must have the request's image. Without
// an entry the container itself must be just what kdiag asks for, with any image.
func (request containerRequest) findRequest(container *corev1.EphemeralContainer, made []ledgerEntry) (ledgerEntry, bool) {
	for _, entry := range made {
		if entry.Name == container.Name {
			return entry, entry.Image == request.image && !entry.Unusable
		}
	}

	manager, ok := parseManager(container)
	if !ok || !request.isUnaltered(container, manager) {
		return ledgerEntry{}, false
	}
	return ledgerEntry{Name: container.Name, Manager: manager, Image: container.Image, PullPolicy: container.ImagePullPolicy}, true
}

// isUnaltered reports whether a container is, apart from image and pull policy, just what
// kdiag asks for to run the manager in its arguments. The arguments alone prove nothing:
// whoever may add containers to the pod can give one the same arguments with another
// command, mount or capability.
func (request containerRequest) isUnaltered(container *corev1.EphemeralContainer, manager Manager) bool {
	asked := request.buildContainer(container.Name, manager)
	asked.Image, asked.ImagePullPolicy = container.Image, container.ImagePullPolicy

	have := container.DeepCopy()
	// The API server fills this in.
	if have.TerminationMessagePath == corev1.TerminationMessagePathDefault {
		have.TerminationMessagePath = ""
	}
	return equality.Semantic.DeepEqual(asked, *have)
}

// admittedImage finds out by dry run what admission makes of the request's image: a webhook
// may have nodes pull it from a mirror. It returns "" if it cannot find out.
func (c *Cluster) admittedImage(ctx context.Context, request containerRequest, profile Profile) string {
	asked := request.newContainer(profile)
	trial, err := c.patchEphemeral(ctx, c.dryRun, request.pod, asked, metav1.DryRunAll)
	if err != nil {
		return ""
	}

	if tried := findEphemeral(trial, asked.Name); tried != nil {
		return tried.Image
	}
	return ""
}

// reuseContainer waits until a container that was found runs. If it has failed to start
// before, the user learns why at once, while the kubelet tries again.
func (c *Cluster) reuseContainer(ctx context.Context, request containerRequest, own ownContainer) (Injected, error) {
	if asked := request.manager.IdleTimeout; asked != 0 && asked != own.IdleTimeout {
		return Injected{}, &IdleTimeoutError{own.Name, own.IdleTimeout, asked}
	}
	if own.running {
		return own.Injected, nil
	}
	if own.stuck != "" && request.notice != nil {
		request.notice(fmt.Sprintf("container %s has not started: %s; waiting for the kubelet to retry", own.Name, own.stuck))
	}

	err := c.waitUntilRunning(ctx, request, request.pod, own, c.findEventVersion(ctx, request.pod.Namespace))
	request.recordFailure(ctx, request.pod, own.Name, err)
	return own.Injected, err
}

// newLedgerEntry makes the ledger's entry for a container that was just made.
func (request containerRequest) newLedgerEntry(made Injected) ledgerEntry {
	return ledgerEntry{Name: made.Name, Manager: request.managerFor(made.Profile), Image: request.image, PullPolicy: request.pullPolicy}
}

// recordFailure notes in the ledger that a container did not start. The pod's status says so
// only 10 s later.
func (request containerRequest) recordFailure(ctx context.Context, pod *corev1.Pod, container string, err error) {
	var failed *startError
	if errors.As(err, &failed) {
		request.ledger.markFailed(ctx, pod.UID, container, wire.OneLine(failed.Error()))
	}
}

// readProgress reads from the pod whether a container runs or is stuck. A container that
// failed before, by the ledger, counts as stuck until it runs.
func readProgress(pod *corev1.Pod, container, failed string) (running bool, stuck string) {
	status := findStatus(pod, container)
	switch {
	case status == nil:
		return false, failed
	case status.State.Running != nil:
		return true, ""
	case status.State.Waiting != nil && !slices.Contains(startingReasons, status.State.Waiting.Reason):
		return false, wire.OneLine(joinReason(status.State.Waiting.Reason, status.State.Waiting.Message))
	}
	return false, failed
}

// hasEnded reports whether a container has ended, by the pod's status.
func hasEnded(pod *corev1.Pod, container string) bool {
	status := findStatus(pod, container)
	return status != nil && status.State.Terminated != nil
}

// findEphemeral finds an ephemeral container in a pod's spec. It returns nil if there is none.
func findEphemeral(pod *corev1.Pod, name string) *corev1.EphemeralContainer {
	for n := range pod.Spec.EphemeralContainers {
		if pod.Spec.EphemeralContainers[n].Name == name {
			return &pod.Spec.EphemeralContainers[n]
		}
	}
	return nil
}

// IdleTimeoutError reports a container that kdiag would use again if the request did not ask for
// another idle timeout. An ephemeral container cannot be changed.
type IdleTimeoutError struct {
	Container  string
	Has, Asked time.Duration
}

func (e *IdleTimeoutError) Error() string {
	return fmt.Sprintf("container %s already exists with an idle timeout of %s, not %s", e.Container,
		duration.HumanDuration(e.Has), duration.HumanDuration(e.Asked))
}
