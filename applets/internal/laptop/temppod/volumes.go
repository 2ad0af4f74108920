package temppod

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"kdiag/applets"
	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
)

// ClaimChoice says what becomes of the pod's persistent volumes in a copy.
type ClaimChoice string

const (
	// ClaimsAuto mounts those that several may write to, or that are only read; others it refuses.
	ClaimsAuto ClaimChoice = "auto"
	// ClaimsReadOnly mounts all read-only.
	ClaimsReadOnly ClaimChoice = "readonly"
	// ClaimsWrite mounts all as the pod does.
	ClaimsWrite ClaimChoice = "write"
	// ClaimsEmpty has an empty volume in place of each.
	ClaimsEmpty ClaimChoice = "empty"
)

// decidedVolumes is what was decided on the pod's volumes, by their names.
type decidedVolumes struct {
	readOnly, empty map[string]bool
	// bindsNode says that one of them can be used on one node only: the pod's, or that of another pod
	// which uses it now.
	bindsNode bool
	node      string
	// said describes each claim, for the plan.
	said []string
}

// keptMounts returns a container's mounts.
func (d decidedVolumes) keptMounts(c corev1.Container) (kept []corev1.VolumeMount) {
	for _, mount := range c.VolumeMounts {
		mount.ReadOnly = mount.ReadOnly || d.readOnly[mount.Name]
		kept = append(kept, mount)
	}
	return kept
}

// keptDevices returns a container's block devices. One can be neither empty nor only read.
func (d decidedVolumes) keptDevices(c corev1.Container) (kept []corev1.VolumeDevice) {
	for _, device := range c.VolumeDevices {
		if !d.empty[device.Name] && !d.readOnly[device.Name] {
			kept = append(kept, device)
		}
	}
	return kept
}

// usedVolumes returns the pod's volumes that a copy's containers use.
func (r CopyRequest) usedVolumes(pod *corev1.Pod) (used []corev1.Volume) {
	for _, volume := range r.Pod.Spec.Volumes {
		if !isUsed(pod, volume.Name) {
			continue
		}
		if r.volumes.empty[volume.Name] {
			volume.VolumeSource = corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
		}
		used = append(used, volume)
	}
	return used
}

// isUsed reports whether a container of a pod uses a volume.
func isUsed(pod *corev1.Pod, volume string) bool {
	return slices.ContainsFunc(slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers), func(c corev1.Container) bool {
		return slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == volume }) ||
			slices.ContainsFunc(c.VolumeDevices, func(d corev1.VolumeDevice) bool { return d.Name == volume })
	})
}

// isWritten reports whether a container of a pod can write to a volume.
func isWritten(pod *corev1.Pod, volume string) bool {
	return slices.ContainsFunc(slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers), func(c corev1.Container) bool {
		return slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == volume && !m.ReadOnly }) ||
			slices.ContainsFunc(c.VolumeDevices, func(d corev1.VolumeDevice) bool { return d.Name == volume })
	})
}

// decideVolumes decides what becomes of each persistent volume that the copy would use. It fails for
// one that two pods must not share without a word of the user's.
func (r *CopyRequest) decideVolumes(ctx context.Context, api API) error {
	r.volumes = decidedVolumes{readOnly: map[string]bool{}, empty: map[string]bool{}}
	draft := r.buildPod()
	for _, volume := range draft.Spec.Volumes {
		use, ok := r.describeUse(ctx, api, volume)
		if !ok {
			continue
		}
		use.isWritten = use.isWritten && isWritten(draft, volume.Name)
		if err := r.decideClaim(use); err != nil {
			return err
		}
	}
	return nil
}

// describeUse says how the pod uses a volume that outlives it; ok is false for others.
func (r *CopyRequest) describeUse(ctx context.Context, api API, volume corev1.Volume) (use claimUse, ok bool) {
	use = claimUse{volume: volume.Name, user: "is in use by the pod"}
	claim := volume.PersistentVolumeClaim
	if claim == nil {
		source, modes, isReadOnly, ok := findNetworkVolume(volume)
		use.what, use.modes, use.isWritten = "volume "+volume.Name+" of type "+source, modes, !isReadOnly
		return use, ok
	}

	use.what, use.isWritten = "PersistentVolumeClaim "+claim.ClaimName, !claim.ReadOnly
	// Without the right to read it, it may be of any kind.
	if read, err := api.ReadClaim(ctx, r.Pod.Namespace, claim.ClaimName); err == nil {
		use.modes = read.Spec.AccessModes
	}
	if kube.IsFinished(r.Pod) {
		use.user, use.node = findClaimUser(ctx, api, r.Pod.Namespace, claim.ClaimName)
	}
	return use, true
}

// findClaimUser says which pod uses a claim, if one does or may, and on which node: that of a pod which
// has ended is often its successor's.
func findClaimUser(ctx context.Context, api API, namespace, claim string) (user, node string) {
	pods, err := api.ListClaimUsers(ctx, namespace, claim)
	switch {
	case err != nil:
		return "may be in use by another pod, which you may not list", ""
	case len(pods) > 0:
		return "is in use by pod " + pods[0].Name, pods[0].Spec.NodeName
	}
	return "", ""
}

// networkVolumes lists the sources of volumes that a pod names without a claim and that outlive it, by
// their fields, and who may write to one.
var networkVolumes = map[string]corev1.PersistentVolumeAccessMode{
	"NFS": corev1.ReadWriteMany, "CephFS": corev1.ReadWriteMany, "Glusterfs": corev1.ReadWriteMany, "AzureFile": corev1.ReadWriteMany, "Quobyte": corev1.ReadWriteMany,
	"GCEPersistentDisk": corev1.ReadWriteOnce, "AWSElasticBlockStore": corev1.ReadWriteOnce, "AzureDisk": corev1.ReadWriteOnce, "Cinder": corev1.ReadWriteOnce,
	"ISCSI": corev1.ReadWriteOnce, "RBD": corev1.ReadWriteOnce, "FC": corev1.ReadWriteOnce, "FlexVolume": corev1.ReadWriteOnce, "VsphereVolume": corev1.ReadWriteOnce,
	"PortworxVolume": corev1.ReadWriteOnce, "ScaleIO": corev1.ReadWriteOnce, "StorageOS": corev1.ReadWriteOnce, "PhotonPersistentDisk": corev1.ReadWriteOnce,
}

// findNetworkVolume returns the source of a volume that is one of networkVolumes.
func findNetworkVolume(volume corev1.Volume) (source string, modes []corev1.PersistentVolumeAccessMode, isReadOnly, ok bool) {
	fields := reflect.ValueOf(volume.VolumeSource)
	for name, mode := range networkVolumes {
		field := fields.FieldByName(name)
		if field.IsNil() {
			continue
		}
		flag := field.Elem().FieldByName("ReadOnly")
		isReadOnly = flag.IsValid() && reflect.Indirect(flag).IsValid() && reflect.Indirect(flag).Bool()
		return name, []corev1.PersistentVolumeAccessMode{mode}, isReadOnly, true
	}
	return "", nil, false, false
}

// claimUse is a claim that the copy would use, or a volume like it.
type claimUse struct {
	volume, what string
	// modes is empty if it is not known.
	modes     []corev1.PersistentVolumeAccessMode
	isWritten bool
	// user says who uses it now, or may, and node is that pod's, if it is another one.
	user, node string
}

func (u claimUse) has(mode corev1.PersistentVolumeAccessMode) bool {
	return slices.Contains(u.modes, mode)
}

// describe names the claim, and by whom it can be used.
func (u claimUse) describe() string {
	modes := "access modes unknown"
	if len(u.modes) > 0 {
		names := make([]string, len(u.modes))
		for i, mode := range u.modes {
			names[i] = string(mode)
		}
		modes = strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s (%s)", u.what, modes)
}

// decideClaim decides on one claim.
func (r *CopyRequest) decideClaim(u claimUse) error {
	inUse := u.user != ""
	shared := u.has(corev1.ReadWriteMany) || u.has(corev1.ReadOnlyMany)
	switch {
	case r.Claims == ClaimsEmpty:
		r.volumes.empty[u.volume] = true
		r.volumes.said = append(r.volumes.said, "an empty volume in place of "+u.describe())
		return nil
	case inUse && u.has(corev1.ReadWriteOncePod):
		return r.refuseClaim(u, "only one pod at a time can use it", ClaimsEmpty)
	case r.Claims == ClaimsAuto && inUse && u.isWritten && !u.has(corev1.ReadWriteMany):
		return r.refuseClaim(u, "it has one writer", ClaimsReadOnly, ClaimsWrite, ClaimsEmpty)
	}

	how := "read-only"
	if r.Claims == ClaimsReadOnly {
		r.volumes.readOnly[u.volume] = true
	} else if u.isWritten {
		how = "read-write"
	}
	if inUse && !shared {
		r.volumes.bindsNode, r.volumes.node = true, cmp.Or(u.node, r.volumes.node)
	}
	r.volumes.said = append(r.volumes.said, u.describe()+", "+how)
	return nil
}

// refuseClaim says why a claim is not mounted, and what the user can choose.
func (r *CopyRequest) refuseClaim(u claimUse, why string, choices ...ClaimChoice) error {
	texts := map[ClaimChoice]string{
		ClaimsReadOnly: "--copy-claims=readonly mounts it read-only on the same node",
		ClaimsWrite:    "--copy-claims=write has both pods write to it",
		ClaimsEmpty:    "--copy-claims=empty gives the copy an empty volume instead",
	}
	var hints []string
	for _, choice := range choices {
		hints = append(hints, texts[choice])
	}
	err := fmt.Errorf("copy pod %s/%s: %s %s, and %s", r.Pod.Namespace, r.Pod.Name, u.describe(), u.user, why)
	return applets.WithHint(err, "%s", strings.Join(hints, "; "))
}
