package temppod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"kdiag/applets"
	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
)

// A Copy is a pod that is to be made as a copy of another, and what there is to say about it.
type Copy struct {
	request CopyRequest
	// command says where the original command is known from, or why it is not.
	command string
}

// PlanCopy decides on everything of a copy. It changes nothing.
func PlanCopy(ctx context.Context, api API, r CopyRequest, read ImageReader) (*Copy, error) {
	r.Name = newName("copy", r.Pod.Name)
	if err := r.decideVolumes(ctx, api); err != nil {
		return nil, err
	}

	node, err := api.ReadNode(ctx, r.Pod.Spec.NodeName)
	if err != nil {
		node = &corev1.Node{} // without the right to it, or a node, the pod shows
	}

	c := &Copy{request: r}
	c.command = c.request.findCommand(ctx, node.Status.NodeInfo.Architecture, read)
	c.request.Carrier = chooseCarrier(ctx, api, c.request, node.Status.NodeInfo.ContainerRuntimeVersion)
	return c, ctx.Err()
}

// chooseCarrier returns an image volume if the runtime of the pod's node has them, or may, and the API
// server takes one. A trial that fails must leave nothing: for a user who may not delete pods it is not
// made.
func chooseCarrier(ctx context.Context, api API, r CopyRequest, runtime string) Carrier {
	has, known := hasImageVolumes(runtime)
	if !known {
		has = mayHaveImageVolumes(ctx, api) && api.MayDeletePods(ctx, r.Pod.Namespace)
	}
	if !has {
		return ByInitContainer
	}

	r.Carrier = ByImageVolume
	if api.TryPod(ctx, r.buildPod()) != nil {
		// If it is not the volume that was refused, then the pod will be as well.
		return ByInitContainer
	}
	return ByImageVolume
}

// imageVolumeMinor is the 1.x of Kubernetes in which image volumes are stable (KEP-4639). Its nodes most
// likely have a runtime that mounts them.
const imageVolumeMinor = 36

// mayHaveImageVolumes reports whether nodes of the cluster may mount images, by its version.
func mayHaveImageVolumes(ctx context.Context, api API) bool {
	_, minor, err := api.ReadServerVersion(ctx)
	return err == nil && minor >= imageVolumeMinor
}

// imageVolumeRuntimes lists the first versions of runtimes that mount images.
var imageVolumeRuntimes = map[string][2]int{"containerd": {2, 1}, "cri-o": {1, 31}}

// hasImageVolumes reports whether a runtime, as a node reports it ("containerd://1.6.20"), mounts
// images, if that is known.
func hasImageVolumes(runtime string) (has, known bool) {
	name, version, _ := strings.Cut(runtime, "://")
	first, listed := imageVolumeRuntimes[name]
	var major, minor int
	if n, _ := fmt.Sscanf(strings.TrimPrefix(version, "v"), "%d.%d", &major, &minor); !listed || n < 2 {
		return false, false
	}
	return major > first[0] || major == first[0] && minor >= first[1], true
}

// Pod returns the pod that is to be made.
func (c *Copy) Pod() *corev1.Pod { return c.request.buildPod() }

// KnowsCommand reports whether the command of the target is known.
func (c *Copy) KnowsCommand() bool { return len(c.request.Command) > 0 }

// UsesImageVolume reports whether kdiag is to come by an image volume.
func (c *Copy) UsesImageVolume() bool { return c.request.Carrier == ByImageVolume }

// WithoutImageVolume returns the same copy, with another name, whose init container brings kdiag.
func (c *Copy) WithoutImageVolume() *Copy {
	other := *c
	other.request.Carrier = ByInitContainer
	other.request.Name = newName("copy", c.request.Pod.Name)
	return &other
}

// Describe says what is going to be made, a line for each thing, the first one as a heading.
func (c *Copy) Describe(keep bool) []string {
	r := c.request
	pod := c.Pod()
	lines := []string{
		fmt.Sprintf("creating pod %s/%s, a copy of %s in which container %s waits instead of running:", pod.Namespace, pod.Name, r.Pod.Name, r.Target.Name),
		"image:     " + r.Target.Image,
		"command:   not run, but in $KDIAG_COMMAND; from " + c.command,
		"kept:      env, volumes, user, security context, resources, node selection" + describeAccount(pod),
		"dropped:   labels, so that no Service, controller or NetworkPolicy that goes by them sees the copy",
		"           owner, probes, lifecycle hooks, ports, priority, rules about other pods",
	}
	if !c.KnowsCommand() {
		lines[2] = "command:   " + c.command
	}

	if text := r.describeMemory(); text != "" {
		lines = append(lines, text)
	}
	if names := listNames(copiedInit(pod)); names != "" {
		lines = append(lines, "runs:      init containers "+names+", before the shell (not with --copy-containers=target)")
	}
	if names := listNames(pod.Spec.Containers[1:]); names != "" {
		lines = append(lines, "runs:      containers "+names+", beside the shell")
	}
	if left := r.leftOut(); len(left) > 0 {
		lines = append(lines, "left out:  containers "+strings.Join(left, ", ")+" (see --copy-containers)")
	}
	if text := c.warnNetwork(pod); text != "" {
		lines = append(lines, text)
	}
	for _, text := range slices.Concat(r.volumes.said, describeHost(pod)) {
		lines = append(lines, "can touch: "+text)
	}

	return append(lines, c.describeCarrier(), describeEnding(r.Deadline.String(), keep))
}

// warnNetwork says that an init container may lead the copy's connections to a container that it does
// not have, as that of a service mesh does.
func (c *Copy) warnNetwork(pod *corev1.Pod) string {
	if len(c.request.leftOut()) == 0 {
		return ""
	}
	for _, init := range copiedInit(pod) {
		if sc := init.SecurityContext; sc != nil && sc.Capabilities != nil && slices.Contains(sc.Capabilities.Add, "NET_ADMIN") {
			return "network:   init container " + init.Name + " may redirect connections (NET_ADMIN) in favour of a container left out"
		}
	}
	return ""
}

// ExplainFailure adds to the error of a copy that did not start what to do if one of its init containers
// is why.
func (c *Copy) ExplainFailure(err error) error {
	var failed *kube.InitFailedError
	switch {
	case !errors.As(err, &failed) || failed.Container == installContainer:
		return err
	case failed.Container == c.request.Target.Name:
		return err
	}
	return applets.WithHint(err, "look at that container instead with -c %s, or leave it out with --copy-containers=target", failed.Container)
}

// describeCarrier says how kdiag gets into the copy.
func (c *Copy) describeCarrier() string {
	how := "init container " + installContainer + " and an empty volume"
	if c.UsesImageVolume() {
		how = "an image volume"
	}
	return fmt.Sprintf("kdiag:     %s, by %s", c.request.Image.Name, how)
}

// describeEnding says when a pod ends.
func describeEnding(deadline string, keep bool) string {
	if keep {
		return "ends:      after " + deadline + "; the shell's end does not delete it (--keep)"
	}
	return "ends:      deleted with the shell; after " + deadline + " in any case"
}

// describeAccount names the service account whose token is in the copy as well.
func describeAccount(pod *corev1.Pod) string {
	mounts := pod.Spec.AutomountServiceAccountToken
	if mounts != nil && !*mounts && !slices.ContainsFunc(pod.Spec.Volumes, hasToken) || pod.Spec.ServiceAccountName == "" {
		return ""
	}
	return ", service account " + pod.Spec.ServiceAccountName
}

// hasToken reports whether a volume has a token of the pod's service account.
func hasToken(volume corev1.Volume) bool {
	return volume.Projected != nil && slices.ContainsFunc(volume.Projected.Sources, func(s corev1.VolumeProjection) bool {
		return s.ServiceAccountToken != nil
	})
}

// describeHost says what of its node a pod can touch.
func describeHost(pod *corev1.Pod) (said []string) {
	for _, volume := range pod.Spec.Volumes {
		if volume.HostPath != nil {
			how := "read-only"
			if isWritten(pod, volume.Name) {
				how = "read-write"
			}
			said = append(said, "the node's "+volume.HostPath.Path+", "+how)
		}
	}

	for _, share := range []struct {
		does bool
		what string
	}{{pod.Spec.HostNetwork, "network"}, {pod.Spec.HostPID, "processes"}, {pod.Spec.HostIPC, "IPC"}} {
		if share.does {
			said = append(said, "the node's "+share.what)
		}
	}

	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if sc := c.SecurityContext; sc != nil && sc.Privileged != nil && *sc.Privileged {
			said = append(said, "anything on the node: container "+c.Name+" is privileged")
		}
	}
	return said
}

// copiedInit returns the init containers of a copy that are the pod's.
func copiedInit(pod *corev1.Pod) []corev1.Container {
	return slices.DeleteFunc(slices.Clone(pod.Spec.InitContainers), func(c corev1.Container) bool { return c.Name == installContainer })
}

// listNames joins the names of containers.
func listNames(list []corev1.Container) string {
	names := make([]string, len(list))
	for i, c := range list {
		names[i] = c.Name
	}
	return strings.Join(names, ", ")
}

// MayLackImageVolume reports whether a copy that did not start may do so without an image volume: its
// node may not have them, or mount them so that nothing in them can be executed. Only the target mounts
// it: an init container that has failed would only fail, and do its work, once more.
func (c *Copy) MayLackImageVolume(ctx context.Context, err error) bool {
	var late *kube.TimeoutError
	var init *kube.InitFailedError
	return c.UsesImageVolume() && ctx.Err() == nil && kube.IsNotStarted(err) && !errors.As(err, &late) && !errors.As(err, &init)
}
