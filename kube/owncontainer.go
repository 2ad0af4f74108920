package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
)

// ownContainer is a container in a pod that this user's kdiag made, which has
// not ended and does a request's job.
type ownContainer struct {
	Injected
	running bool
	// stuck is why it does not start; empty where it runs or is on its way.
	stuck string
	// otherImage says that its image is not the one that was asked for, and the
	// ledger does not know it.
	otherImage bool
}

// findOwn finds a container that this user's kdiag made for the same job: by
// the ledger, whatever admission made of it; without an entry there by every
// field that kdiag asks for.
func (c *Cluster) findOwn(ctx context.Context, request containerRequest) (ownContainer, bool) {
	admitted := map[Profile]string{} // what admission makes of the image that is asked for
	for _, own := range request.ownContainers(request.ledger.readEntries(request.pod.UID)) {
		if !own.otherImage {
			return own, true
		}
		if _, known := admitted[own.Profile]; !known {
			admitted[own.Profile] = c.admittedImage(ctx, request, own.Profile)
		}
		if there := findEphemeral(request.pod, own.Name); there != nil && there.Image == admitted[own.Profile] {
			return own, true
		}
	}

	return ownContainer{}, false
}

// findMadeMeanwhile looks again, where the ledger knows a container that was
// not there when the pod was read: another kdiag of this user has just made it.
// The injection has the newer pod then.
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

// ownContainers lists the containers in the pod that do, the best first: one
// that runs or starts before one that is stuck, then by the order of profiles,
// then one that runs already.
func (request containerRequest) ownContainers(made []ledgerEntry) []ownContainer {
	var list []ownContainer
	for n := range request.pod.Spec.EphemeralContainers {
		container := &request.pod.Spec.EphemeralContainers[n]
		own, ok := request.matchOwn(container, made)
		if ok && slices.Contains(request.profiles, own.Profile) && !hasEnded(request.pod, container.Name) {
			list = append(list, own)
		}
	}

	order := func(own ownContainer) int {
		rank := 2 * slices.Index(request.profiles, own.Profile)
		switch {
		case own.stuck != "":
			rank += 2 * len(request.profiles)
		case !own.running:
			rank++
		}
		return rank
	}

	slices.SortStableFunc(list, func(a, b ownContainer) int { return cmp.Compare(order(a), order(b)) })
	return list
}

// matchOwn reports whether a container was made by this user's kdiag for the same
// job. One that does not start is not for a request that asks for another image
// policy or idle time-out: it is replaced.
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

// findRequest is what a container was asked for as. The ledger's word is good for
// whatever admission made of it, but not for another image; without an entry
// the container must be what kdiag asks for, and its image is left open.
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

// isUnaltered reports whether a container is, image and pull policy aside, what
// kdiag asks for to run the manager that its arguments tell of: whoever may add
// containers to the pod can give one the same arguments, and another command,
// mount or right.
func (request containerRequest) isUnaltered(container *corev1.EphemeralContainer, manager Manager) bool {
	asked := request.buildContainer(container.Name, manager)
	asked.Image, asked.ImagePullPolicy = container.Image, container.ImagePullPolicy

	have := container.DeepCopy()
	// What the API server fills in.
	if have.TerminationMessagePath == corev1.TerminationMessagePathDefault {
		have.TerminationMessagePath = ""
	}
	return equality.Semantic.DeepEqual(asked, *have)
}

// admittedImage asks by a dry run what admission would make of the image that is asked for, as a
// webhook does that has nodes pull from a mirror. It is empty where that cannot be told.
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

// reuseContainer waits until a container that was found runs. Where it has failed to
// start before, the user is told why at once, and the kubelet gets its next
// try.
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

	err := c.waitUntilRunning(ctx, request.pod, own, c.findEventVersion(ctx, request.pod.Namespace), request.progress)
	request.recordFailure(ctx, request.pod, own.Name, err)
	return own.Injected, err
}

// newLedgerEntry is what the ledger keeps of a container that was made.
func (request containerRequest) newLedgerEntry(made Injected) ledgerEntry {
	return ledgerEntry{Name: made.Name, Manager: request.managerFor(made.Profile), Image: request.image, PullPolicy: request.pullPolicy}
}

// recordFailure writes down that a container did not start. The kubelet says so
// in the pod's status 10 s later only.
func (request containerRequest) recordFailure(ctx context.Context, pod *corev1.Pod, container string, err error) {
	var failed *startError
	if errors.As(err, &failed) {
		request.ledger.markFailed(ctx, pod.UID, container, oneLine(failed.Error()))
	}
}

// readProgress reads how far a container has come. One that was seen to fail, by
// the ledger's word, is stuck until it runs.
func readProgress(pod *corev1.Pod, container, failed string) (running bool, stuck string) {
	status := findStatus(pod, container)
	switch {
	case status == nil:
		return false, failed
	case status.State.Running != nil:
		return true, ""
	case status.State.Waiting != nil && !slices.Contains(startingReasons, status.State.Waiting.Reason):
		return false, oneLine(joinReason(status.State.Waiting.Reason, status.State.Waiting.Message))
	}
	return false, failed
}

func hasEnded(pod *corev1.Pod, container string) bool {
	status := findStatus(pod, container)
	return status != nil && status.State.Terminated != nil
}

func findEphemeral(pod *corev1.Pod, name string) *corev1.EphemeralContainer {
	for n := range pod.Spec.EphemeralContainers {
		if pod.Spec.EphemeralContainers[n].Name == name {
			return &pod.Spec.EphemeralContainers[n]
		}
	}
	return nil
}

// IdleTimeoutError reports a container that is there and would be used again,
// but for the idle time-out that was asked for. Nothing changes an ephemeral
// container.
type IdleTimeoutError struct {
	Container  string
	Has, Asked time.Duration
}

func (e *IdleTimeoutError) Error() string {
	return fmt.Sprintf("container %s already exists with an idle timeout of %s, not %s", e.Container,
		duration.HumanDuration(e.Has), duration.HumanDuration(e.Asked))
}
