package temppod

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/imageconfig"
	"kdiag/kube"
	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// fillValue gives every field of a value something that is not its zero, to a depth.
func fillValue(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64, reflect.Int:
		v.SetInt(1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillValue(v.Elem(), depth-1)
	case reflect.Slice:
		if depth > 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			fillValue(v.Index(0), depth-1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fillValue(key, 1)
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() && depth > 0 {
				fillValue(v.Field(i), depth-1)
			}
		}
	}
}

// droppedOfPod and droppedOfContainer list what a copy does not have, and why. A field that Kubernetes adds
// is in neither: the test fails until somebody has decided.
var (
	droppedOfPod = map[string]string{
		"EphemeralContainers":       "they are for the pod that runs",
		"DeprecatedServiceAccount":  "the API server sets it",
		"NodeName":                  "the copy is scheduled anew",
		"PriorityClassName":         "the copy must push out no other pod",
		"Priority":                  "as above",
		"PreemptionPolicy":          "as above",
		"ReadinessGates":            "nobody waits for the copy",
		"Overhead":                  "the runtime class sets it",
		"TopologySpreadConstraints": "they go by labels",
		"SchedulingGates":           "they are a controller's",
		"SchedulingGroup":           "the copy is no member of a group",
		"EvictionResponders":        "they are for the application",
	}
	droppedOfContainer = map[string]string{
		"Ports": "a host's port is taken", "ResizePolicy": "nobody resizes the copy", "RestartPolicy": "a sidecar's only",
		"RestartPolicyRules": "nothing restarts", "LivenessProbe": "hold answers none", "ReadinessProbe": "as above", "StartupProbe": "as above",
		"Lifecycle": "the application does not run", "Stdin": "nobody attaches", "StdinOnce": "as above", "TTY": "as above",
		"Args": "hold has them",
	}
)

// TestEveryFieldIsDecided copies a pod that has all fields: each is kept, or on a list with a reason.
func TestEveryFieldIsDecided(t *testing.T) {
	var pod corev1.Pod
	fillValue(reflect.ValueOf(&pod.Spec).Elem(), 4)
	pod.Name, pod.Namespace = "web", "shop"
	target := &pod.Spec.Containers[0]
	target.Name = "app"
	pod.Spec.ResourceClaims[0] = corev1.PodResourceClaim{Name: "x", ResourceClaimTemplateName: new("t")}
	pod.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}}
	pod.Spec.Volumes = []corev1.Volume{{Name: "x"}}
	made := buildCopy(&pod, "app", nil).Spec

	verifyKept(t, "pod", reflect.ValueOf(pod.Spec), reflect.ValueOf(made), droppedOfPod)
	verifyKept(t, "container", reflect.ValueOf(*target), reflect.ValueOf(made.Containers[0]), droppedOfContainer)
}

func verifyKept(t *testing.T, what string, from, made reflect.Value, dropped map[string]string) {
	t.Helper()
	for i := range from.NumField() {
		name := from.Type().Field(i).Name
		_, isDropped := dropped[name]
		if from.Field(i).IsZero() {
			t.Errorf("%s.%s: the test has not filled it", what, name)
		}
		if made.Field(i).IsZero() != isDropped {
			t.Errorf("%s.%s: kept: %t, on the list of what is dropped: %t", what, name, !made.Field(i).IsZero(), isDropped)
		}
	}
}

// buildCopy copies a pod, as change wants it.
func buildCopy(pod *corev1.Pod, target string, change func(*CopyRequest)) *corev1.Pod {
	container, _, _, err := kube.ContainerOf(pod, target)
	if err != nil {
		panic(err)
	}
	r := CopyRequest{
		Pod: pod, Target: container, Containers: WithInit, Claims: ClaimsAuto, Command: []string{"run"}, Name: "copy",
		Image: Image{"kdiag:v1", corev1.PullIfNotPresent}, Carrier: ByInitContainer, Deadline: time.Hour,
	}
	if change != nil {
		change(&r)
	}
	return r.buildPod()
}

// meshPod is a pod with every kind of container.
func meshPod() *corev1.Pod {
	always := corev1.ContainerRestartPolicyAlways
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "web-0", Namespace: "shop", UID: "1", Labels: map[string]string{"app": "web"},
			Annotations:     map[string]string{"other": "x", appArmorAnnotation + "app": "unconfined", appArmorAnnotation + "log": "y"},
			OwnerReferences: []metav1.OwnerReference{{Name: "web"}}, Finalizers: []string{"f"}, GenerateName: "web-",
		},
		Spec: corev1.PodSpec{
			NodeName:        "n1",
			SecurityContext: &corev1.PodSecurityContext{RunAsUser: new(int64(1000))},
			Volumes: []corev1.Volume{
				{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data-0"}}},
				{Name: "logs", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			},
			InitContainers: []corev1.Container{
				{Name: "setup", Image: "setup"},
				{Name: "proxy", Image: "proxy", RestartPolicy: &always},
				{Name: "migrate", Image: "migrate"},
			},
			Containers: []corev1.Container{
				{Name: "app", Image: "app", VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}},
				{Name: "log", Image: "log", VolumeMounts: []corev1.VolumeMount{{Name: "logs", MountPath: "/logs"}}},
			},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
}

// TestCopiedContainers copies the containers that are asked for, and the volumes that they use.
func TestCopiedContainers(t *testing.T) {
	for _, c := range []struct {
		name, target string
		change       func(*CopyRequest)
		init, plain  string
		volumes      string
	}{
		{"default", "app", nil, "kdiag-install setup proxy migrate", "app", "data kdiag"},
		{"image volume", "app", func(r *CopyRequest) { r.Carrier = ByImageVolume }, "setup proxy migrate", "app", "data kdiag"},
		{"target alone", "app", func(r *CopyRequest) { r.Containers = TargetOnly }, "kdiag-install", "app", "data kdiag"},
		{"all", "log", func(r *CopyRequest) { r.Containers = AllContainers }, "kdiag-install setup proxy migrate", "log app", "data logs kdiag"},
		{"an init container", "migrate", nil, "kdiag-install setup proxy", "migrate", "kdiag"},
		{"an init container, all", "setup", func(r *CopyRequest) { r.Containers = AllContainers }, "kdiag-install", "setup", "kdiag"},
		{"a sidecar", "proxy", nil, "kdiag-install setup", "proxy", "kdiag"},
	} {
		made := buildCopy(meshPod(), c.target, c.change)
		var volumes []string
		for _, v := range made.Spec.Volumes {
			volumes = append(volumes, v.Name)
		}
		got := strings.ReplaceAll(listNames(made.Spec.InitContainers)+"|"+listNames(made.Spec.Containers), ",", "") + "|" + strings.Join(volumes, " ")
		if want := c.init + "|" + c.plain + "|" + c.volumes; got != want {
			t.Errorf("%s: %s, want %s", c.name, got, want)
		}

		target := made.Spec.Containers[0]
		want := []string{"/.kdiag/kdiag", "hold", "--deadline=1h0m0s", "--", "run"}
		if !slices.Equal(target.Command, want) || target.Args != nil || target.RestartPolicy != nil || target.Image != c.target {
			t.Errorf("%s: the target is %+v, want %q", c.name, target, want)
		}
	}
}

// TestNobodySeesTheCopy has nothing in it by which a Service, a controller or the scheduler's rules about pods
// would find it.
func TestNobodySeesTheCopy(t *testing.T) {
	pod := meshPod()
	made := buildCopy(pod, "app", func(r *CopyRequest) {
		r.volumes = decidedVolumes{readOnly: map[string]bool{"data": true}, bindsNode: true}
	})
	if m := made.ObjectMeta; m.Labels != nil || m.OwnerReferences != nil || m.Finalizers != nil || m.GenerateName != "" || m.UID != "" {
		t.Errorf("metadata = %+v, want a name and annotations alone", m)
	}
	want := map[string]string{"kdiag/copy-of": "web-0/app", appArmorAnnotation + "app": "unconfined"}
	if !reflect.DeepEqual(made.Annotations, want) {
		t.Errorf("annotations = %v, want %v", made.Annotations, want)
	}
	if s := made.Spec; s.RestartPolicy != corev1.RestartPolicyNever || *s.ActiveDeadlineSeconds != 3600 || s.NodeName != "" {
		t.Errorf("restarts %s, ends after %d, on %q, want never, 3600, on any node", s.RestartPolicy, *s.ActiveDeadlineSeconds, s.NodeName)
	}

	// The pod itself is as it was.
	if !reflect.DeepEqual(pod, meshPod()) {
		t.Error("the pod has changed")
	}
}

// TestInstaller asks for as little as "restricted" wants.
func TestInstaller(t *testing.T) {
	for uid, want := range map[int64]int64{0: installUser, 1000: 1000} {
		pod := meshPod()
		pod.Spec.SecurityContext.RunAsUser = &uid
		sc := buildCopy(pod, "app", nil).Spec.InitContainers[0].SecurityContext
		if *sc.RunAsUser != want || !*sc.RunAsNonRoot || *sc.AllowPrivilegeEscalation || sc.Capabilities.Drop[0] != "ALL" {
			t.Errorf("beside user %d the installer has %+v, want user %d, without rights", uid, sc, want)
		}
	}
}

// fakeAPI has one claim and records what is asked of it.
type fakeAPI struct {
	API
	modes   []corev1.PersistentVolumeAccessMode
	refuses error
	runtime string
	mayEnd  bool
	tried   int
	users   []corev1.Pod
	hides   error // the users
}

func (f *fakeAPI) ListClaimUsers(context.Context, string, string) ([]corev1.Pod, error) {
	return f.users, f.hides
}

func (f *fakeAPI) ReadClaim(context.Context, string, string) (*corev1.PersistentVolumeClaim, error) {
	if f.modes == nil {
		return nil, errors.New("not allowed")
	}
	return &corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{AccessModes: f.modes}}, nil
}

func (f *fakeAPI) ReadNode(context.Context, string) (*corev1.Node, error) {
	if f.runtime == "" {
		return nil, errors.New("not allowed")
	}
	return &corev1.Node{Status: corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{ContainerRuntimeVersion: f.runtime}}}, nil
}

func (f *fakeAPI) TryPod(context.Context, *corev1.Pod) error { f.tried++; return f.refuses }

func (f *fakeAPI) ReadServerVersion(context.Context) (string, int, error) { return "v1.37.0", 37, nil }

func (f *fakeAPI) MayDeletePods(context.Context, string) bool { return f.mayEnd }

func noImage(context.Context, string, string, string) (imageconfig.Command, error) {
	return imageconfig.Command{}, errors.New("no registry")
}

// TestClaims decides on a volume by who may write to it, and by what the user says.
func TestClaims(t *testing.T) {
	const rwo, rwx, rwop, rox = corev1.ReadWriteOnce, corev1.ReadWriteMany, corev1.ReadWriteOncePod, corev1.ReadOnlyMany
	for _, c := range []struct {
		name   string
		modes  []corev1.PersistentVolumeAccessMode
		choice ClaimChoice
		change func(*corev1.Pod)
		want   string // of the error's hint, or: rw, ro or empty, and bound to the node
	}{
		{"one writer", []corev1.PersistentVolumeAccessMode{rwo}, ClaimsAuto, nil, "--copy-claims=readonly"},
		{"one writer, which has ended", []corev1.PersistentVolumeAccessMode{rwo}, ClaimsAuto, func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, "rw"},
		{"one writer, read-only there", []corev1.PersistentVolumeAccessMode{rwo}, ClaimsAuto, func(p *corev1.Pod) { p.Spec.Containers[0].VolumeMounts[0].ReadOnly = true }, "ro bound"},
		{"one writer, write", []corev1.PersistentVolumeAccessMode{rwo}, ClaimsWrite, nil, "rw bound"},
		{"one writer, read only", []corev1.PersistentVolumeAccessMode{rwo}, ClaimsReadOnly, nil, "ro bound"},
		{"one writer, empty", []corev1.PersistentVolumeAccessMode{rwo}, ClaimsEmpty, nil, "empty"},
		{"many writers", []corev1.PersistentVolumeAccessMode{rwo, rwx}, ClaimsAuto, nil, "rw"},
		{"many writers, read only", []corev1.PersistentVolumeAccessMode{rwx}, ClaimsReadOnly, nil, "ro"},
		{"many readers", []corev1.PersistentVolumeAccessMode{rox}, ClaimsAuto, nil, "--copy-claims=readonly"},
		{"one pod", []corev1.PersistentVolumeAccessMode{rwop}, ClaimsWrite, nil, "--copy-claims=empty"},
		{"one pod, which has ended", []corev1.PersistentVolumeAccessMode{rwop}, ClaimsAuto, func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }, "rw"},
		{"unknown", nil, ClaimsAuto, nil, "--copy-claims=readonly"},
		{"unknown, write", nil, ClaimsWrite, nil, "rw bound"},
	} {
		pod := meshPod()
		if c.change != nil {
			c.change(pod)
		}
		target, _, _, _ := kube.ContainerOf(pod, "app")
		plan, err := PlanCopy(t.Context(), &fakeAPI{modes: c.modes}, CopyRequest{Pod: pod, Target: target, Containers: WithInit, Claims: c.choice, Deadline: time.Hour}, noImage)
		got := strings.Join(applets.Hints(err), "")
		if err == nil {
			got = describeData(plan.Pod())
		}
		if got != c.want && (err == nil || !strings.HasPrefix(got, c.want)) {
			t.Errorf("%s: %q, want %q (%v)", c.name, got, c.want, err)
		}
	}
}

// TestClaimOfSuccessor does not have a second writer on a volume of a pod that has ended, as one that was
// evicted, while its successor runs or may run.
func TestClaimOfSuccessor(t *testing.T) {
	successor := corev1.Pod{Spec: corev1.PodSpec{NodeName: "n2"}}
	successor.Name = "web-1"
	for _, c := range []struct {
		name   string
		api    fakeAPI
		choice ClaimChoice
		want   string // of the error, or the node that the copy is bound to
	}{
		{"none", fakeAPI{}, ClaimsAuto, ""},
		{"one", fakeAPI{users: []corev1.Pod{successor}}, ClaimsAuto, "is in use by pod web-1, and it has one writer"},
		{"one, read-only", fakeAPI{users: []corev1.Pod{successor}}, ClaimsReadOnly, "n2"},
		{"not known", fakeAPI{hides: errors.New("no")}, ClaimsAuto, "may be in use by another pod, which you may not list, and"},
	} {
		pod := meshPod()
		pod.Status.Phase = corev1.PodFailed
		c.api.modes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
		target, _, _, _ := kube.ContainerOf(pod, "app")
		plan, err := PlanCopy(t.Context(), &c.api, CopyRequest{Pod: pod, Target: target, Containers: WithInit, Claims: c.choice, Deadline: time.Hour}, noImage)
		got := ""
		if err != nil {
			got = err.Error()
		} else if a := plan.Pod().Spec.Affinity; a != nil {
			got = a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchFields[0].Values[0]
		}
		if !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestNetworkVolumes decides on volumes without a claim as on those with one.
func TestNetworkVolumes(t *testing.T) {
	for name, c := range map[string]struct {
		source corev1.VolumeSource
		choice ClaimChoice
		want   string // of the error, or of the plan
	}{
		"a disk":            {corev1.VolumeSource{ISCSI: &corev1.ISCSIVolumeSource{}}, ClaimsAuto, "volume data of type ISCSI (ReadWriteOnce) is in use by the pod, and it has one writer"},
		"a disk, read-only": {corev1.VolumeSource{RBD: &corev1.RBDVolumeSource{ReadOnly: true}}, ClaimsAuto, "can touch: volume data of type RBD (ReadWriteOnce), read-only"},
		"azure, read-only":  {corev1.VolumeSource{AzureDisk: &corev1.AzureDiskVolumeSource{ReadOnly: new(true)}}, ClaimsAuto, "(ReadWriteOnce), read-only"},
		"azure":             {corev1.VolumeSource{AzureDisk: &corev1.AzureDiskVolumeSource{}}, ClaimsAuto, "it has one writer"},
		"NFS":               {corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{}}, ClaimsAuto, "can touch: volume data of type NFS (ReadWriteMany), read-write"},
		"empty":             {corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{}}, ClaimsEmpty, "can touch: an empty volume in place of volume data of type NFS"},
	} {
		pod := meshPod()
		pod.Spec.Volumes[0].VolumeSource = c.source
		target, _, _, _ := kube.ContainerOf(pod, "app")
		plan, err := PlanCopy(t.Context(), &fakeAPI{}, CopyRequest{Pod: pod, Target: target, Containers: WithInit, Claims: c.choice, Deadline: time.Hour}, noImage)
		said := ""
		if err != nil {
			said = err.Error()
		} else {
			said = strings.Join(plan.Describe(false), "\n")
		}
		if !strings.Contains(said, c.want) {
			t.Errorf("%s: %s\nwant %q", name, said, c.want)
		}
	}
	sources := reflect.TypeFor[corev1.VolumeSource]()
	for name := range networkVolumes {
		if _, ok := sources.FieldByName(name); !ok {
			t.Errorf("no volume has the source %s", name)
		}
	}
}

// describeData says how a copy of meshPod has the volume data.
func describeData(pod *corev1.Pod) (how string) {
	switch mount := pod.Spec.Containers[0].VolumeMounts[0]; {
	case pod.Spec.Volumes[0].EmptyDir != nil:
		how = "empty"
	case mount.ReadOnly:
		how = "ro"
	default:
		how = "rw"
	}
	if pod.Spec.Affinity != nil {
		how += " bound"
	}
	return how
}

// TestCarrier uses an image volume where it works, or most likely does and leaves nothing behind if not.
func TestCarrier(t *testing.T) {
	for _, c := range []struct {
		name string
		api  fakeAPI
		want Carrier
		asks int
	}{
		{"new containerd", fakeAPI{runtime: "containerd://2.1.0"}, ByImageVolume, 1},
		{"old containerd", fakeAPI{runtime: "containerd://1.7.27"}, ByInitContainer, 0},
		{"containerd 2.0", fakeAPI{runtime: "containerd://2.0.5"}, ByInitContainer, 0},
		{"new CRI-O", fakeAPI{runtime: "cri-o://1.33.0"}, ByImageVolume, 1},
		{"old CRI-O", fakeAPI{runtime: "cri-o://1.30.1"}, ByInitContainer, 0},
		{"refused", fakeAPI{runtime: "containerd://v3.0.0", refuses: errors.New("must specify a volume type")}, ByInitContainer, 1},
		{"unknown", fakeAPI{runtime: "other://1", mayEnd: true}, ByImageVolume, 1},
		{"not told", fakeAPI{mayEnd: true}, ByImageVolume, 1},
		{"not told, and no right to delete", fakeAPI{}, ByInitContainer, 0},
	} {
		pod := meshPod()
		target, _, _, _ := kube.ContainerOf(pod, "log")
		plan, err := PlanCopy(t.Context(), &c.api, CopyRequest{Pod: pod, Target: target, Containers: WithInit, Claims: ClaimsAuto}, noImage)
		if err != nil || plan.request.Carrier != c.want || c.api.tried != c.asks {
			t.Errorf("%s: carrier %d after %d dry runs, %v, want %d after %d", c.name, plan.request.Carrier, c.api.tried, err, c.want, c.asks)
		}
	}
}

// TestFailedInitRunsOnce makes no second copy, in which init containers would do their work again, where it
// is one of them that has failed.
func TestFailedInitRunsOnce(t *testing.T) {
	api := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(api.Close)
	cluster, err := kube.Connect(kube.ConnectOptions{Kubeconfig: os.DevNull, Server: api.URL}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}

	failed := []corev1.ContainerStatus{{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1}}}}
	for name, want := range map[string]bool{"migrate": false, "app": true} {
		pod := meshPod()
		failed[0].Name = name
		pod.Status.ContainerStatuses = failed
		_, err := cluster.AwaitPodStart(t.Context(), pod, kube.PodStart{Container: "app", Progress: func(string) {}, Notice: func(string) {}})
		plan := &Copy{request: CopyRequest{Carrier: ByImageVolume}}
		if got := plan.MayLackImageVolume(t.Context(), err); err == nil || got != want {
			t.Errorf("container %s has failed: %v, another try: %t, want %t", name, err, got, want)
		}
	}
}

// TestCommand finds what the container would run, and protects an image's words from the kubelet.
func TestCommand(t *testing.T) {
	image := imageconfig.Command{Entrypoint: []string{"/entry", "$(A)"}, Cmd: []string{"$b"}, From: "app@sha256:1"}
	for _, c := range []struct {
		name          string
		command, args []string
		err           error
		want          []string
		said          string
	}{
		{"in the spec", []string{"a"}, []string{"$(B)"}, nil, []string{"a", "$(B)"}, "the pod's spec"},
		{"the image's", nil, nil, nil, []string{"/entry", "$$(A)", "$$b"}, "the configuration of image app@sha256:1"},
		{"the image's, other arguments", nil, []string{"$(C)"}, nil, []string{"/entry", "$$(A)", "$(C)"}, "the configuration"},
		{"not known", nil, []string{"c"}, errors.New("no route"), nil, "not known: the spec has no command, and the image's own is not in the API: no route"},
	} {
		pod := meshPod()
		pod.Spec.Containers[0].Command, pod.Spec.Containers[0].Args = c.command, c.args
		r := CopyRequest{Pod: pod, Target: &pod.Spec.Containers[0]}
		said := r.findCommand(t.Context(), "", func(_ context.Context, _, _, arch string) (imageconfig.Command, error) {
			if arch != "amd64" {
				t.Errorf("%s: architecture %q", c.name, arch)
			}
			return image, c.err
		})
		if !slices.Equal(r.Command, c.want) || !strings.HasPrefix(said, c.said) {
			t.Errorf("%s: %q, %q, want %q, %q", c.name, r.Command, said, c.want, c.said)
		}
	}
}

// TestPlan says what there is to know before anything is made.
func TestPlan(t *testing.T) {
	pod := meshPod()
	pod.Spec.HostNetwork, pod.Spec.HostIPC, pod.Spec.ServiceAccountName = true, true, "shop"
	pod.Spec.InitContainers[2].SecurityContext = &corev1.SecurityContext{Privileged: new(true)}
	pod.Spec.InitContainers[2].VolumeMounts = []corev1.VolumeMount{{Name: "host", MountPath: "/host"}}
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "host", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/etc"}}})
	pod.Spec.InitContainers[0].SecurityContext = &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN"}}}
	target, _, _, _ := kube.ContainerOf(pod, "app")
	plan, err := PlanCopy(t.Context(), &fakeAPI{modes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}}, CopyRequest{
		Pod: pod, Target: target, Containers: WithInit, Claims: ClaimsAuto, Deadline: time.Hour, Image: Image{Name: "kdiag:v1"},
	}, noImage)
	if err != nil {
		t.Fatal(err)
	}

	text := strings.Join(plan.Describe(false), "\n")
	for _, want := range []string{
		"creating pod shop/kdiag-copy-web-0-", "container app waits", "service account shop", "runs:      init containers setup, proxy, migrate",
		"left out:  containers log", "network:   init container setup may redirect connections", "can touch: PersistentVolumeClaim data-0 (ReadWriteMany), read-write",
		"can touch: the node's network", "can touch: the node's IPC", "can touch: the node's /etc, read-write",
		"can touch: anything on the node: container migrate is privileged", "NetworkPolicy", "kdiag:v1, by init container kdiag-install", "deleted with the shell; after 1h0m0s", "command:   not known",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the plan is\n%s\nwant %q", text, want)
		}
	}
	if keep := strings.Join(plan.Describe(true), "\n"); !strings.Contains(keep, "does not delete it (--keep)") {
		t.Errorf("the plan with --keep is\n%s", keep)
	}
}

// TestDescribeAccount names the account where the copy gets a token of it, also by a volume alone.
func TestDescribeAccount(t *testing.T) {
	token := corev1.Volume{Name: "t", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{}}}}}}
	for _, c := range []struct {
		mounts  *bool
		volumes []corev1.Volume
		want    string
	}{
		{nil, nil, ", service account a"}, {new(true), nil, ", service account a"}, {new(false), nil, ""},
		{new(false), []corev1.Volume{token}, ", service account a"},
	} {
		pod := &corev1.Pod{Spec: corev1.PodSpec{ServiceAccountName: "a", AutomountServiceAccountToken: c.mounts, Volumes: c.volumes}}
		if got := describeAccount(pod); got != c.want {
			t.Errorf("describeAccount(%+v) = %q, want %q", pod.Spec, got, c.want)
		}
	}
}

// TestTakenName brings kdiag in a volume of another name where the pod has one of its name.
func TestTakenName(t *testing.T) {
	pod := meshPod()
	pod.Spec.Volumes[0].Name, pod.Spec.Containers[0].VolumeMounts[0].Name = volumeName, volumeName
	made := buildCopy(pod, "app", nil).Spec
	mounts := made.Containers[0].VolumeMounts
	if v := made.Volumes; len(v) != 2 || v[0].PersistentVolumeClaim == nil || v[1].Name != "kdiag-x" || mounts[0].Name != volumeName ||
		mounts[1].Name != "kdiag-x" || !mounts[1].ReadOnly || made.InitContainers[0].VolumeMounts[0].Name != "kdiag-x" {
		t.Errorf("volumes %+v, mounts %+v, want two of different names", v, mounts)
	}
}

// TestCopyOfCopy is refused: it would wait for nothing.
func TestCopyOfCopy(t *testing.T) {
	if err := kube.CheckCopyable(buildCopy(meshPod(), "app", nil)); err == nil || !strings.Contains(err.Error(), "a copy itself, of web-0/app") {
		t.Errorf("CheckCopyable = %v", err)
	}
	if err := kube.CheckCopyable(meshPod()); err != nil {
		t.Error(err)
	}
}

// TestEnvOfLabels has the values that variables have in the pod, though the copy has no labels.
func TestEnvOfLabels(t *testing.T) {
	pod := meshPod()
	pod.Labels["x/v"], pod.Annotations["a"] = "7", "$(HOME) $"
	field := func(name, path string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
	}
	pod.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "PLAIN", Value: "$(X)"}, field("L", "metadata.labels['x/v']"), field("A", "metadata.annotations['a']"),
		field("NONE", "metadata.labels['none']"), field("POD", "metadata.name")}
	want := []corev1.EnvVar{{Name: "PLAIN", Value: "$(X)"}, {Name: "L", Value: "7"}, {Name: "A", Value: "$$(HOME) $$"}, {Name: "NONE"}, field("POD", "metadata.name")}
	if got := buildCopy(pod, "app", nil).Spec.Containers[0].Env; !reflect.DeepEqual(got, want) {
		t.Errorf("env = %+v, want %+v", got, want)
	}
}

// TestNewName makes names of pods, whatever the other pod's is.
func TestNewName(t *testing.T) {
	for _, of := range []string{"a", "web-0", strings.Repeat("x", 253), "a.b.c", strings.Repeat("y", 46) + "-" + strings.Repeat("z", 9)} {
		one, other := newName("copy", of), newName("copy", of)
		if one == other || len(one) > maxName || strings.ContainsAny(one, "._") || strings.Contains(one, "--") {
			t.Errorf("newName(%q) = %q, %q, want two names of at most %d characters", of, one, other, maxName)
		}
	}
}

// TestSmallMemory gives a small container memory for kdiag, and says so.
func TestSmallMemory(t *testing.T) {
	for limit, want := range map[string]string{"12Mi": "44Mi", "63Mi": "95Mi", "64Mi": "64Mi", "1Gi": "1Gi", "": "0"} {
		pod := meshPod()
		if limit != "" {
			pod.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(limit)}
		}
		made := buildCopy(pod, "app", nil)
		for _, c := range []corev1.Container{made.Spec.InitContainers[0], made.Spec.Containers[0]} {
			if got := c.Resources.Limits.Memory().String(); got != want {
				t.Errorf("limit %s: %s has %s in the copy, want %s", limit, c.Name, got, want)
			}
		}

		r := CopyRequest{Pod: pod, Target: &pod.Spec.Containers[0]}
		if said := r.describeMemory(); (said != "") != (want != limit && limit != "") {
			t.Errorf("limit %s: the plan says %q", limit, said)
		}
	}
}

// TestNodePod has all rights on the node, and no account of the cluster's.
func TestNodePod(t *testing.T) {
	pod := BuildNodePod(NodeRequest{Namespace: "n", Node: "n1.example", Image: Image{Name: "kdiag:v1"}, Deadline: time.Minute})
	s, c := pod.Spec, pod.Spec.Containers[0]
	if s.NodeName != "n1.example" || !s.HostPID || !s.HostNetwork || !*c.SecurityContext.Privileged || *s.AutomountServiceAccountToken ||
		s.Tolerations[0].Operator != corev1.TolerationOpExists || *s.ActiveDeadlineSeconds != 60 || pod.Labels != nil {
		t.Errorf("the pod is %+v", s)
	}
	if want := []string{wire.Binary, "hold", "--deadline=1m0s"}; !slices.Equal(c.Command, want) {
		t.Errorf("command %q, want %q", c.Command, want)
	}
}

// TestHintForNodePods is about the namespace only where the pod was refused, not where it did not start.
func TestHintForNodePods(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{&kube.Error{Doing: "create pod", Err: errors.New("violates PodSecurity"), Next: "ask"}, true},
		{&kube.Error{Doing: "start container", Err: &kube.TimeoutError{After: time.Minute}, Next: "another image"}, false},
		{&kube.Error{Doing: "create pod", Err: &kube.DeniedError{}, Next: "ask"}, false},
	} {
		hints := strings.Join(applets.Hints(ExplainRefusedNodePod(c.err, "n")), "; ")
		if strings.Contains(hints, "privileged") != c.want {
			t.Errorf("%T: hints %q, want the namespace's: %t", c.err, hints, c.want)
		}
	}
}
