package temppod

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"kdiag/kube"
	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Carrier says how kdiag gets into a copy.
type Carrier int

const (
	// ByImageVolume mounts kdiag's image (KEP-4639).
	ByImageVolume Carrier = iota
	// ByInitContainer has an init container copy the program into an empty volume.
	ByInitContainer
)

// CopyContainers says which containers a copy has beside the target.
type CopyContainers string

const (
	// TargetOnly copies no other.
	TargetOnly CopyContainers = "target"
	// WithInit copies the init containers, which prepare what the target needs, and sidecars.
	WithInit CopyContainers = "init"
	// AllContainers copies all.
	AllContainers CopyContainers = "all"
)

// CopyRequest says how a copy of a pod is made.
type CopyRequest struct {
	Pod *corev1.Pod
	// Target is the container of the pod that waits instead of running.
	Target     *corev1.Container
	Containers CopyContainers
	// Claims says what becomes of the pod's persistent volumes.
	Claims ClaimChoice
	// Command is what the target would run.
	Command  []string
	Image    Image
	Carrier  Carrier
	Deadline time.Duration
	Name     string
	// volumes is what was decided on the pod's volumes.
	volumes decidedVolumes
}

// buildPod returns the copy. It names what is kept, so that a field which Kubernetes will have one day
// is left out.
func (r CopyRequest) buildPod() *corev1.Pod {
	from := r.Pod.Spec
	init, beside := r.otherContainers()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: r.Name, Namespace: r.Pod.Namespace,
			Annotations: r.keptAnnotations(),
		},
		Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyNever,
			ActiveDeadlineSeconds:         seconds(r.Deadline),
			TerminationGracePeriodSeconds: new(gracePeriod),

			DNSPolicy: from.DNSPolicy, DNSConfig: from.DNSConfig, HostAliases: from.HostAliases,
			Hostname: from.Hostname, Subdomain: from.Subdomain, SetHostnameAsFQDN: from.SetHostnameAsFQDN,
			HostnameOverride:   from.HostnameOverride,
			ServiceAccountName: from.ServiceAccountName, AutomountServiceAccountToken: from.AutomountServiceAccountToken,
			EnableServiceLinks: from.EnableServiceLinks, ImagePullSecrets: from.ImagePullSecrets,
			HostNetwork: from.HostNetwork, HostPID: from.HostPID, HostIPC: from.HostIPC, HostUsers: from.HostUsers,
			ShareProcessNamespace: from.ShareProcessNamespace, SecurityContext: from.SecurityContext,
			NodeSelector: from.NodeSelector, Tolerations: from.Tolerations, Affinity: r.nodeAffinity(),
			SchedulerName: from.SchedulerName, RuntimeClassName: from.RuntimeClassName, OS: from.OS,
			Resources: podResources(from.Resources), ResourceClaims: r.keptClaims(),
		},
	}

	pod.Spec.InitContainers = r.copyEach(init)
	pod.Spec.Containers = append([]corev1.Container{r.buildTarget()}, r.copyEach(beside)...)
	pod.Spec.Volumes = r.usedVolumes(pod)
	r.carryKdiag(pod)
	return pod
}

// otherContainers returns the containers that are copied beside the target. Those before an init
// container are its init containers.
func (r CopyRequest) otherContainers() (init, beside []corev1.Container) {
	if r.Containers == TargetOnly {
		return nil, nil
	}

	for _, c := range r.Pod.Spec.InitContainers {
		if c.Name == r.Target.Name {
			return init, nil
		}
		init = append(init, c)
	}
	if r.Containers != AllContainers {
		return init, nil
	}

	for _, c := range r.Pod.Spec.Containers {
		if c.Name != r.Target.Name {
			beside = append(beside, c)
		}
	}
	return init, beside
}

// leftOut lists the names of the pod's containers that are not copied.
func (r CopyRequest) leftOut() (names []string) {
	init, beside := r.otherContainers()
	copied := slices.Concat(init, beside)
	for _, c := range kube.ContainersOf(r.Pod) {
		if c.Name != r.Target.Name && !slices.ContainsFunc(copied, func(o corev1.Container) bool { return o.Name == c.Name }) {
			names = append(names, c.Name)
		}
	}
	return names
}

// buildTarget returns the target's container, which waits.
func (r CopyRequest) buildTarget() corev1.Container {
	c := r.copyContainer(*r.Target)
	held := wire.HoldArguments{Deadline: r.Deadline, Command: r.Command}
	c.Command, c.Args = append([]string{wire.CopyBinary}, held.Args()...), nil
	c.Resources = giveMemory(c.Resources)
	// What a sidecar has, a plain container must not have.
	c.RestartPolicy = nil
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: r.freeName(volumeName), MountPath: wire.CopyMount, ReadOnly: true})
	return c
}

// copyEach copies containers that run as they do in the pod.
func (r CopyRequest) copyEach(list []corev1.Container) (copies []corev1.Container) {
	for _, c := range list {
		copies = append(copies, r.copyContainer(c))
	}
	return copies
}

// copyContainer copies what a container is, without what others do with it: ports, probes and hooks.
func (r CopyRequest) copyContainer(c corev1.Container) corev1.Container {
	made := corev1.Container{
		Name: c.Name, Image: c.Image, ImagePullPolicy: c.ImagePullPolicy,
		Command: c.Command, Args: c.Args, WorkingDir: c.WorkingDir,
		Env: r.keptEnv(c.Env), EnvFrom: c.EnvFrom, SecurityContext: c.SecurityContext,
		TerminationMessagePath: c.TerminationMessagePath, TerminationMessagePolicy: c.TerminationMessagePolicy,
		RestartPolicy: c.RestartPolicy,
		Resources:     *c.Resources.DeepCopy(),
		VolumeMounts:  r.volumes.keptMounts(c), VolumeDevices: r.volumes.keptDevices(c),
	}

	kept := r.keptClaims()
	made.Resources.Claims = slices.DeleteFunc(made.Resources.Claims, func(claim corev1.ResourceClaim) bool {
		return !slices.ContainsFunc(kept, func(k corev1.PodResourceClaim) bool { return k.Name == claim.Name })
	})
	if len(made.Resources.Claims) == 0 {
		made.Resources.Claims = nil
	}
	return made
}

// keptEnv returns variables as the pod has them: the copy has none of its labels and annotations, which
// some refer to.
func (r CopyRequest) keptEnv(list []corev1.EnvVar) []corev1.EnvVar {
	kept := slices.Clone(list)
	for i, v := range kept {
		if v.ValueFrom == nil || v.ValueFrom.FieldRef == nil {
			continue
		}
		field, key, _ := strings.Cut(strings.TrimSuffix(v.ValueFrom.FieldRef.FieldPath, "']"), "['")
		values, ok := map[string]map[string]string{"metadata.labels": r.Pod.Labels, "metadata.annotations": r.Pod.Annotations}[field]
		if ok {
			// The kubelet expands $(NAME) in a value, but in no label.
			kept[i] = corev1.EnvVar{Name: v.Name, Value: strings.ReplaceAll(values[key], "$", "$$")}
		}
	}
	return kept
}

// appArmorAnnotation begins the annotations that name AppArmor profiles, as pods had them before 1.30.
const appArmorAnnotation = "container.apparmor.security.beta.kubernetes.io/"

// keptAnnotations returns the annotations that confine containers of the copy, and one that says what
// it is. Labels there are none: they are what Services and controllers go by.
func (r CopyRequest) keptAnnotations() map[string]string {
	kept := map[string]string{kube.CopyAnnotation: r.Pod.Name + "/" + r.Target.Name}
	left := r.leftOut()
	for key, value := range r.Pod.Annotations {
		if name, ok := strings.CutPrefix(key, appArmorAnnotation); ok && !slices.Contains(left, name) {
			kept[key] = value
		}
	}
	return kept
}

// keptClaims returns the pod's claims of devices that the copy gets a device of its own for.
func (r CopyRequest) keptClaims() (kept []corev1.PodResourceClaim) {
	for _, claim := range r.Pod.Spec.ResourceClaims {
		if claim.ResourceClaimTemplateName != nil {
			kept = append(kept, claim)
		}
	}
	return kept
}

// nodeAffinity returns the pod's rules on nodes, without those on other pods: they go by labels. A
// volume that only one node can have binds the copy to the node that has it.
func (r CopyRequest) nodeAffinity() *corev1.Affinity {
	var rules *corev1.NodeAffinity
	if from := r.Pod.Spec.Affinity; from != nil && from.NodeAffinity != nil {
		rules = from.NodeAffinity.DeepCopy()
	}

	node := cmp.Or(r.volumes.node, r.Pod.Spec.NodeName)
	if r.volumes.bindsNode && node != "" {
		if rules == nil {
			rules = &corev1.NodeAffinity{}
		}
		// The rules of one node are stricter than whatever admitted the pod to it.
		rules.RequiredDuringSchedulingIgnoredDuringExecution = &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchFields: []corev1.NodeSelectorRequirement{{Key: metav1.ObjectNameField, Operator: corev1.NodeSelectorOpIn, Values: []string{node}}},
		}}}
	}

	if rules == nil {
		return nil
	}
	return &corev1.Affinity{NodeAffinity: rules}
}

// freeName returns a name that none of the pod's volumes has, most often the wanted one.
func (r CopyRequest) freeName(wanted string) string {
	isTaken := func(v corev1.Volume) bool { return v.Name == wanted }
	for slices.ContainsFunc(r.Pod.Spec.Volumes, isTaken) {
		wanted += "-x"
	}
	return wanted
}

// carryKdiag adds the volume that has kdiag's program, and what fills it.
func (r CopyRequest) carryKdiag(pod *corev1.Pod) {
	volume := corev1.Volume{Name: r.freeName(volumeName)}
	if r.Carrier == ByImageVolume {
		volume.Image = &corev1.ImageVolumeSource{Reference: r.Image.Name, PullPolicy: r.Image.PullPolicy}
	} else {
		volume.EmptyDir = &corev1.EmptyDirVolumeSource{}
		pod.Spec.InitContainers = append([]corev1.Container{r.buildInstaller()}, pod.Spec.InitContainers...)
	}
	pod.Spec.Volumes = append(pod.Spec.Volumes, volume)
}

// installUser is the user of the installer if the target's is not known: "nonroot" of the distroless
// images.
const installUser = int64(65532)

// buildInstaller returns the init container that copies kdiag's program into the volume. It asks for as
// little as Pod Security's level "restricted" wants. Its resources are the target's: those of init
// containers are not added up, and a quota may want some.
func (r CopyRequest) buildInstaller() corev1.Container {
	uid := installUser
	if specified := kube.SpecifiedUser(r.Pod, r.Target); specified != nil && *specified != 0 {
		uid = *specified
	}

	resources := giveMemory(r.Target.Resources)
	resources.Claims = nil
	install := wire.HoldArguments{Install: wire.CopyBinary}
	return corev1.Container{
		Name: installContainer, Image: r.Image.Name, ImagePullPolicy: r.Image.PullPolicy,
		Command: append([]string{wire.Binary}, install.Args()...), Resources: resources,
		VolumeMounts: []corev1.VolumeMount{{Name: r.freeName(volumeName), MountPath: wire.CopyMount}},
		SecurityContext: &corev1.SecurityContext{
			RunAsUser: &uid, RunAsNonRoot: new(true), AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
			Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
	}
}
