package temppod

import (
	"context"
	"fmt"
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
	// bindsNode says that one of them can be used on the pod's node only.
	bindsNode bool
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
func isWritten(pod *corev1.Pod, volume corev1.Volume) bool {
	if volume.PersistentVolumeClaim.ReadOnly {
		return false
	}
	return slices.ContainsFunc(slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers), func(c corev1.Container) bool {
		return slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == volume.Name && !m.ReadOnly }) ||
			slices.ContainsFunc(c.VolumeDevices, func(d corev1.VolumeDevice) bool { return d.Name == volume.Name })
	})
}

// decideVolumes decides what becomes of each persistent volume that the copy would use. It fails for
// one that two pods must not share without a word of the user's.
func (r *CopyRequest) decideVolumes(ctx context.Context, api API) error {
	r.volumes = decidedVolumes{readOnly: map[string]bool{}, empty: map[string]bool{}}
	draft := r.buildPod()
	for _, volume := range draft.Spec.Volumes {
		if volume.PersistentVolumeClaim == nil {
			continue
		}
		use := claimUse{volume: volume.Name, claim: volume.PersistentVolumeClaim.ClaimName, isWritten: isWritten(draft, volume)}
		// Without the right to read it, it may be of any kind.
		if claim, err := api.ReadClaim(ctx, r.Pod.Namespace, use.claim); err == nil {
			use.modes = claim.Spec.AccessModes
		}
		if err := r.decideClaim(use); err != nil {
			return err
		}
	}
	return nil
}

// claimUse is a claim that the copy would use.
type claimUse struct {
	volume, claim string
	// modes is empty if it is not known.
	modes     []corev1.PersistentVolumeAccessMode
	isWritten bool
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
	return fmt.Sprintf("PersistentVolumeClaim %s (%s)", u.claim, modes)
}

// decideClaim decides on one claim.
func (r *CopyRequest) decideClaim(u claimUse) error {
	inUse := !kube.IsFinished(r.Pod)
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
	r.volumes.bindsNode = r.volumes.bindsNode || inUse && !shared
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
	err := fmt.Errorf("copy pod %s/%s: %s is in use by the pod, and %s", r.Pod.Namespace, r.Pod.Name, u.describe(), why)
	return applets.WithHint(err, "%s", strings.Join(hints, "; "))
}
