package integration

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"kdiag/integration/kit"
	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
)

// plantedContainer describes a container that somebody planted: like the user's
// own, but for one thing.
type plantedContainer struct {
	name   string
	change func(*corev1.EphemeralContainer)
}

// plantedContainers lists every way in which a container may differ.
var plantedContainers = []plantedContainer{
	{"command", func(c *corev1.EphemeralContainer) { c.Command = []string{"/" + c.Command[0]} }},
	{"arguments", func(c *corev1.EphemeralContainer) { c.Args = append(c.Args, c.Args[len(c.Args)-1]) }},
	{"image", func(c *corev1.EphemeralContainer) { c.Image = "localhost/planted:v1" }},
	{"env", func(c *corev1.EphemeralContainer) {
		c.Env = append(c.Env, corev1.EnvVar{Name: "GODEBUG", Value: "panicnil=1"})
	}},
	{"env-from", func(c *corev1.EphemeralContainer) {
		optional := true
		c.EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: "planted"}, Optional: &optional}}}
	}},
	{"mounts", func(c *corev1.EphemeralContainer) {
		c.VolumeMounts = []corev1.VolumeMount{{Name: "shared", MountPath: "/etc"}}
	}},
	{"working-directory", func(c *corev1.EphemeralContainer) { c.WorkingDir = "/proc" }},
	{"capabilities", func(c *corev1.EphemeralContainer) {
		c.SecurityContext.Capabilities.Add = append(c.SecurityContext.Capabilities.Add, "SYS_ADMIN")
	}},
	{"seccomp", func(c *corev1.EphemeralContainer) {
		c.SecurityContext.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined}
	}},
	{"user", func(c *corev1.EphemeralContainer) { user := int64(1000); c.SecurityContext.RunAsUser = &user }},
	{"writable-root", func(c *corev1.EphemeralContainer) { no := false; c.SecurityContext.ReadOnlyRootFilesystem = &no }},
	{"target", func(c *corev1.EphemeralContainer) { c.TargetContainerName = "" }},
	{"terminal", func(c *corev1.EphemeralContainer) { c.Stdin, c.TTY = true, true }},
	{"termination-message", func(c *corev1.EphemeralContainer) { c.TerminationMessagePath = "/proc/self/environ" }},
}

// TestPlantedContainerIsNotUsed ignores a container that has the user's arguments
// and is not what kdiag would have asked for. One that is, in every field, is used
// even without a record of it.
func TestPlantedContainerIsNotUsed(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	if got := kit.RunKdiag(t, "manage", "-n", namespace, "root"); got.Code != 0 {
		t.Fatalf("manage: %v", got)
	}

	var pod *corev1.Pod
	kit.WaitUntil(t, "the image's name on the node", func() bool {
		pod = kit.ReadPod(t, namespace, "root")
		return len(pod.Status.EphemeralContainerStatuses) == 1 && pod.Status.EphemeralContainerStatuses[0].ImageID != ""
	})

	own := pod.Spec.EphemeralContainers[0]
	variants := append(slices.Clone(plantedContainers), plantedContainer{"image-that-runs", func(c *corev1.EphemeralContainer) {
		c.Image = pod.Status.EphemeralContainerStatuses[0].ImageID
	}})

	// A pod for each, for planted containers cannot be removed.
	volumePod := kit.ReadManifest(t, "volumepod.yaml") + "---\n"
	manifests := strings.ReplaceAll(volumePod, "NAME", "nothing")
	for _, p := range variants {
		manifests += strings.ReplaceAll(volumePod, "NAME", p.name)
	}
	kit.AddPods(t, namespace, manifests)

	take := func(t *testing.T, pod string, change func(*corev1.EphemeralContainer)) (taken string) {
		t.Helper()
		plantContainer(t, namespace, pod, own, change)
		got := kit.RunKdiag(t, "manage", "-n", namespace, pod)
		if got.Code != 0 {
			t.Errorf("manage: %v", got)
		}
		return strings.TrimSpace(got.Stdout)
	}

	t.Run("nothing", func(t *testing.T) {
		t.Parallel()
		if got := take(t, "nothing", func(*corev1.EphemeralContainer) {}); got != plantedName {
			t.Errorf("took %s, want %s, which is what it would have asked for", got, plantedName)
		}
	})

	for _, p := range variants {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			if got := take(t, p.name, p.change); got == plantedName || got == "" {
				t.Errorf("took %q, want a container of its own", got)
			}
		})
	}
}

// plantedName names every planted container.
const plantedName = "planted"

// plantContainer adds a container to a pod, as whoever may patch ephemeral
// containers can: like another one, but for a change. It waits until the container
// has started, if it can.
func plantContainer(t *testing.T, namespace, pod string, like corev1.EphemeralContainer, change func(*corev1.EphemeralContainer)) {
	t.Helper()
	made := like.DeepCopy()
	made.Name = plantedName
	change(made)

	body, err := json.Marshal(map[string]any{"spec": map[string]any{"ephemeralContainers": []*corev1.EphemeralContainer{made}}})
	if err != nil {
		t.Fatal(err)
	}

	kit.RunKubectl(t, "patch", "pod", pod, "-n", namespace, "--subresource=ephemeralcontainers", "--type=strategic", "-p", string(body))
	kit.WaitUntil(t, "the planted container's state", func() bool {
		for _, status := range kit.ReadPod(t, namespace, pod).Status.EphemeralContainerStatuses {
			waits := status.State.Waiting
			if status.Name == plantedName && (waits == nil || waits.Reason != "ContainerCreating" && waits.Reason != "PodInitializing") {
				return true
			}
		}
		return false
	})
}

// TestRecordLetsNobodyIn ignores a planted container in a pod of which the user has
// a record, also after the user's own container has ended.
func TestRecordLetsNobodyIn(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	first := strings.TrimSpace(kit.RunKdiag(t, "manage", "-n", namespace, "root", "--idle-timeout=2s").Stdout)
	own := kit.ReadPod(t, namespace, "root").Spec.EphemeralContainers[0]
	plantContainer(t, namespace, "root", own, func(c *corev1.EphemeralContainer) {
		c.Command = []string{"//kdiag"}
		c.Args[len(c.Args)-1] = "--idle-timeout=10m0s"
	})
	kit.WaitForContainerEnd(t, namespace, "root", first)

	got := kit.RunKdiag(t, "manage", "-n", namespace, "root")
	if name := strings.TrimSpace(got.Stdout); got.Code != 0 || name == first || name == plantedName || name == "" {
		t.Errorf("manage: %v, want a container that is neither %s, which has ended, nor %s", got, first, plantedName)
	}
}

// TestPlantedNetContainerIsNotUsed ignores a container that would get the user's
// redirects, and their connections, by the user's arguments.
func TestPlantedNetContainerIsNotUsed(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	kit.AddPods(t, namespace, strings.ReplaceAll(kit.ReadManifest(t, "volumepod.yaml"), "NAME", "planted"))
	c := kit.ConnectCluster(t, namespace, nil)
	ctx, cancel := kube.WithTimeout(t.Context(), kube.DefaultTimeout)
	defer cancel()

	if _, err := c.EnsureNet(ctx, kit.NewNetRequest(kit.FindPod(t, c, "root"))); err != nil {
		t.Fatal(err)
	}

	own := kit.ReadPod(t, namespace, "root").Spec.EphemeralContainers[0]
	plantContainer(t, namespace, "planted", own, func(c *corev1.EphemeralContainer) { c.Command = []string{"//kdiag"} })
	taken, err := c.EnsureNet(ctx, kit.NewNetRequest(kit.FindPod(t, c, "planted")))
	if err != nil || !taken.Created || taken.Name == plantedName {
		t.Errorf("EnsureNet = %+v, %v, want a container of its own", taken, err)
	}
}
