package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
)

// startFailure is why a container does not start, as far as the user can do something about it.
type startFailure int

const (
	// otherFailure is for what only the kubelet's own words explain.
	otherFailure startFailure = iota
	notPulled
	neverPulled
	badImageName
	mustNotBeRoot
	outOfMemory
	noTarget
	otherPlatform
	notKdiag
	notStarted
	killed
	olderKdiag
	refusedOptions
)

// HintOlderImage suggests what to do about a kdiag in the pod that is older than this one.
const HintOlderImage = "use an image of this version with --image REF; where a node keeps an older one under the same name, --image-pull-policy=Always gets the new one"

// startMarks tells failures by the words of the kubelet, containerd, CRI-O and runc: the API has no
// field for them. The first that fits counts, so what is special comes first.
var startMarks = []struct {
	failure startFailure
	words   []string
}{
	{neverPulled, []string{"ErrImageNeverPull", "pull policy of Never"}},
	{badImageName, []string{"InvalidImageName", "couldn't parse image", "Failed to apply default image tag"}},
	{otherPlatform, []string{"no match for platform", "no matching manifest for", "exec format error"}},
	{notPulled, []string{"ErrImagePull", "ImagePullBackOff", "Failed to pull image", "Back-off pulling image", "RegistryUnavailable", "SignatureValidationFailed"}},
	{mustNotBeRoot, []string{"runAsNonRoot", "non-root policy", "image will run as root"}},
	{outOfMemory, []string{"OOMKilled", "OOM-killed", "OOM killed", "memory limit too low"}},
	{noTarget, []string{"/ns/pid", "target container", "failed to join namespace"}},
	{notKdiag, []string{`exec: "`, "executable file"}},
	{notStarted, []string{"StartError", "ContainerStatusUnknown"}},
	{killed, []string{"it exited with code 137"}},
	{olderKdiag, []string{wire.ErrorPrefix + wire.UnknownFlag, wire.ErrorPrefix + wire.UnknownCommand}},
	{refusedOptions, []string{"it exited with code"}},
}

// classify tells why a container does not start.
func (e *startError) classify() startFailure {
	said := e.Error()
	for _, mark := range startMarks {
		if slices.ContainsFunc(mark.words, func(word string) bool { return strings.Contains(said, word) }) {
			return mark.failure
		}
	}
	return otherFailure
}

// isPullFailure reports whether an image was not pulled, which the kubelet tries again.
func (e *startError) isPullFailure() bool { return e.classify() == notPulled }

// pullFailures remembers why an image was not pulled yet. It is safe for concurrent use.
type pullFailures struct {
	container string
	notice    func(string)

	mu     sync.Mutex
	failed *startError
	told   bool
}

// note remembers a failure, and tells the user of the first one that says what is wrong: the events
// and states that follow often say less.
func (p *pullFailures) note(failed *startError) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed == nil || len(failed.Error()) > len(p.failed.Error()) {
		p.failed = failed
	}

	if p.told || strings.HasPrefix(failed.Error(), "Error: ") {
		return
	}
	p.told = true
	if p.notice != nil {
		p.notice(fmt.Sprintf("container %s has not started: %s; waiting for the kubelet to retry", p.container, wire.OneLine(failed.Error())))
	}
}

// noteKnown remembers a failure that the user has been told of.
func (p *pullFailures) noteKnown(failed *startError) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed, p.told = failed, true
}

// last returns the failure that says the most, or nil.
func (p *pullFailures) last() *startError {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

// explainPullFailure makes the error of an image that was not pulled in time.
func (w *startWait) explainPullFailure(ctx context.Context, pod *corev1.Pod, late *TimeoutError) error {
	failed := w.pulls.last()
	err := fmt.Errorf("the image was not pulled within %s: %w", late.After, failed)
	return &Error{Doing: w.doing, Err: err, Next: w.hintFor(ctx, pod, failed)}
}

// explainFailure makes the error of a container that does not start.
func (w *startWait) explainFailure(ctx context.Context, pod *corev1.Pod, err error) error {
	var failed *startError
	if !errors.As(err, &failed) {
		return &Error{Doing: w.doing, Err: err}
	}

	if reason := failed.describe(); reason != "" {
		err = fmt.Errorf("%s: %w", reason, failed)
	}
	return &Error{Doing: w.doing, Err: err, Next: w.hintFor(ctx, pod, failed)}
}

// describe says in a few words why a container does not start, where the kubelet's words need it.
func (e *startError) describe() string {
	switch e.classify() {
	case mustNotBeRoot:
		return "the container may not run as root"
	case outOfMemory:
		return "there is too little memory in the pod to start it"
	case noTarget:
		return "the container to join has ended meanwhile"
	case otherPlatform:
		return "the image is not for the node's platform"
	case notKdiag:
		return "there is no kdiag in the image"
	case olderKdiag:
		return "kdiag in the image is older than this one"
	case killed:
		return "it was killed at once, as when the container that it joins ends"
	}
	return ""
}

// hintFor suggests what to do about a container that does not start. pod is the last state that is
// known.
func (w *startWait) hintFor(ctx context.Context, pod *corev1.Pod, failed *startError) string {
	added := findEphemeral(pod, w.container)
	if added == nil {
		return ""
	}

	switch failed.classify() {
	case notPulled:
		return w.hintForPull(ctx, pod, added.Image)
	case neverPulled:
		return fmt.Sprintf("put %s on node %s with 'kdiag image save', or let the kubelet pull it with --image-pull-policy=IfNotPresent; use another with --image REF", added.Image, pod.Spec.NodeName)
	case badImageName:
		return "use another image with --image REF"
	case mustNotBeRoot:
		return hintForRoot(added)
	case outOfMemory:
		return hintForMemory(pod)
	case noTarget, killed:
		return "run the command again once the target runs"
	case otherPlatform:
		return fmt.Sprintf("make an image for node %s with 'kdiag image save --platform' or 'kdiag image push --platform'", pod.Spec.NodeName)
	case notKdiag:
		return fmt.Sprintf("check that %s is a kdiag image; use another with --image REF, or make one with 'kdiag image save' or 'kdiag image push'", added.Image)
	case olderKdiag:
		return HintOlderImage
	case refusedOptions:
		return fmt.Sprintf("check that %s is an image of this kdiag; run 'kubectl logs -n %s %s -c %s' for details", added.Image, pod.Namespace, pod.Name, w.container)
	}

	return describePodHint(pod)
}

// hintForPull says how the kubelet goes on with an image that it cannot pull, and what it may lack.
func (w *startWait) hintForPull(ctx context.Context, pod *corev1.Pod, image string) string {
	const backOff = "the kubelet tries again after a back-off of 10 s, which doubles up to 5 minutes"
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), usageTimeout)
	defer cancel()
	if node, err := getObject[corev1.Node](ctx, w.nodes(), pod.Spec.NodeName); err == nil && HasImage(node, image) {
		return fmt.Sprintf("node %s has this image, but the kubelet has pulled it under another name and asks the registry whether this pod may use it "+
			"(imagePullCredentialsVerificationPolicy): use the name that it was pulled by with --image REF%s; %s", node.Name, listOtherNames(node, image), backOff)
	}

	secrets := "the pod has no imagePullSecrets"
	if len(pod.Spec.ImagePullSecrets) > 0 {
		var names []string
		for _, secret := range pod.Spec.ImagePullSecrets {
			names = append(names, secret.Name)
		}
		secrets = "the pod's imagePullSecrets are " + strings.Join(names, ", ")
	}

	return fmt.Sprintf("check the name %s, and whether node %s can reach the registry and log in (%s, which kdiag's container uses, too); "+
		"%s; use another image with --image REF", image, pod.Spec.NodeName, secrets, backOff)
}

// listOtherNames lists the other names of an image on a node, in parentheses; "" for none.
func listOtherNames(node *corev1.Node, image string) string {
	full := expandImageName(image)
	for i := range node.Status.Images {
		names := node.Status.Images[i].Names
		if !slices.Contains(names, full) {
			continue
		}

		others := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == full })
		if len(others) > 0 {
			return " (" + strings.Join(others, ", ") + ")"
		}
	}
	return ""
}

// hintForRoot says who may have kept a container from running as root, and what works without.
func hintForRoot(added *corev1.EphemeralContainer) string {
	m, ok := parseManager(added)
	switch {
	case ok && m.Role == wire.RoleShell && m.Profile != ProfileRestricted:
		return "a policy or webhook has set runAsNonRoot: use --profile=restricted, or ask whoever runs it to exclude this pod " + listMutating
	case ok && m.Role == wire.RoleShell:
		return "the target runs as root, or its user is not known: set runAsUser in its securityContext"
	case ok && m.Role == wire.RoleCapture:
		return "captures need a container that runs as root: ask whoever runs the policy or webhook that has set runAsNonRoot to exclude this pod " + listMutating
	}
	return "redirects need a container that runs as root: ask whoever runs the policy or webhook that has set runAsNonRoot to exclude this pod " + listMutating
}

// hintForMemory says how much memory a pod may use.
func hintForMemory(pod *corev1.Pod) string {
	limit := "the node may be short of memory"
	if bytes := MemoryLimit(pod); bytes > 0 {
		limit = fmt.Sprintf("its limit is %d MiB", bytes>>20)
	}
	return "raise the pod's memory limit by 8 MiB at least (" + limit + ")"
}
