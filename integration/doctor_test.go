package integration

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// check is one of "doctor -o json".
type check struct{ Name, Status, Detail, Hint string }

// doctor runs it, and returns the checks by name.
func doctor(t *testing.T, args ...string) (map[string]check, result) {
	t.Helper()
	got := kdiag(t, append([]string{"doctor", "-o", "json"}, args...)...)
	var document struct{ Checks []check }
	if err := json.Unmarshal([]byte(got.stdout), &document); err != nil {
		t.Fatalf("doctor %q: %v: %v", args, err, got)
	}

	checks := map[string]check{}
	for _, c := range document.Checks {
		checks[c.Name] = c
	}

	return checks, got
}

// want is what a check is to say.
type want struct{ name, status, detail, hint string }

func (w want) check(t *testing.T, checks map[string]check, all result) {
	t.Helper()
	got := checks[w.name]
	if got.Status != w.status || !strings.Contains(got.Detail, w.detail) || !strings.Contains(got.Hint, w.hint) {
		t.Errorf("%s = %+v, want %s with %q and a hint with %q\nall: %v", w.name, got, w.status, w.detail, w.hint, all)
	}
}

// TestDoctorWell finds nothing wrong, in a line for each check, and changes
// nothing.
func TestDoctorWell(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, manifest(t, "rootpod.yaml"))
	waitForPods(t, namespace)
	containers := func() string {
		return kubectl(t, "get", "pod", "-n", namespace, "root", "-o", "jsonpath={.metadata.generation} {.spec.ephemeralContainers}")
	}
	eventually(t, "the node to list kdiag's image, which it does once a minute", func() bool {
		return strings.Contains(kubectl(t, "get", "nodes", "-o", "jsonpath={.items[*].status.images[*].names}"), `"`+shared.image+`"`)
	})
	before := containers()
	got := kdiag(t, "doctor", "-n", namespace, "root")
	const checks = 13
	if got.code != 0 || strings.Count(got.stdout, "✓ ") != checks || strings.Count(got.stdout, "\n") != checks || got.stderr != "" {
		t.Errorf("doctor: %v\nwant %d lines, each with ✓", got, checks)
	}

	for _, line := range []string{"✓ streams              WebSocket\n", "profile chroot: chroot into the target\n", "a container with NET_ADMIN is admitted\n"} {
		if !strings.Contains(got.stdout, line) {
			t.Errorf("doctor: %v\nwant %q", got, line)
		}
	}

	if after := containers(); after != before {
		t.Errorf("the pod: %s, before: %s, want no change", after, before)
	}

	// Without a target what is for one is not known, which is no failure.
	without, all := doctor(t, "-n", namespace)
	for _, w := range []want{
		{"target", "unknown", "none given", ""},
		{"streams", "unknown", "needs a target", ""},
		{"pod security: shell", "ok", "has no label", ""},
		{"credentials", "ok", "accepted as ", ""},
	} {
		w.check(t, without, all)
	}

	if all.code != 0 {
		t.Errorf("doctor without a target: %v, want code 0", all)
	}
}

// TestDoctorImage tells an image that has run from one that nobody knows and
// one that the kubelet could not have.
func TestDoctorImage(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, manifest(t, "rootpod.yaml"))
	waitForPods(t, namespace)
	about := func(image string, w want) {
		t.Helper()
		checks, all := doctor(t, "-n", namespace, "root", "--image="+image)
		w.check(t, checks, all)
	}

	about("localhost/nothere:1", want{"image", "unknown", "only the node knows", "kdiag shell tries it"})
	_ = kdiag(t, "shell", "-n", namespace, "root", "--image=localhost/nothere:1", "--pull-policy=Never", "--timeout=30s")
	eventually(t, "the kubelet's word in the pod's status", func() bool {
		return strings.Contains(kubectl(t, "get", "pod", "-n", namespace, "root", "-o", "jsonpath={.status.ephemeralContainerStatuses}"), "ErrImageNeverPull")
	})
	about("localhost/nothere:1", want{"image", "failed", "ErrImageNeverPull", "--image REF"})
	if got := kdiag(t, "shell", "-n", namespace, "root", "--", "-c", "true"); got.code != 0 {
		t.Fatalf("shell: %v", got)
	}

	// The status learns of a start a second later.
	eventually(t, "the container's start in the pod's status", func() bool {
		checks, _ := doctor(t, "-n", namespace, "root")
		return strings.Contains(checks["image"].Detail, "has run with it")
	})
}

// TestDoctorPodSecurity says by the namespace's policy what is admitted: by a
// dry run with a target, by the label without.
func TestDoctorPodSecurity(t *testing.T) {
	for level, pod := range map[string]string{"baseline": "nonroot", "restricted": "nonroot"} {
		namespace := newNamespace(t, "pod-security.kubernetes.io/enforce="+level)
		apply(t, namespace, manifest(t, "restricted.yaml"))
		waitForPods(t, namespace)
		checks, all := doctor(t, "-n", namespace, pod)
		for _, w := range []want{
			{"pod security: shell", "ok", "profile " + level + ": ", ""},
			{"pod security: shell", "ok", `chroot was refused: pods "` + pod + `" is forbidden: violates PodSecurity`, ""},
			{"pod security: redir", "failed", "violates PodSecurity", "NET_ADMIN"},
		} {
			w.check(t, checks, all)
		}

		if all.code != 1 {
			t.Errorf("doctor in a namespace that is %s: code %d, want 1", level, all.code)
		}

		checks, all = doctor(t, "-n", namespace)
		for _, w := range []want{
			{"pod security: shell", "ok", "profile " + level + `, by the label of namespace "` + namespace + `"`, ""},
			{"pod security: redir", "failed", "by the label of namespace", "level privileged"},
		} {
			w.check(t, checks, all)
		}
	}

	checks, all := doctor(t, "-n", pods(t), "hostnetwork")
	want{"pod security: redir", "failed", "hostNetwork", "a network of its own"}.check(t, checks, all)
}

// TestDoctorWithoutWebSocket goes through a proxy that knows no WebSocket.
func TestDoctorWithoutWebSocket(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, manifest(t, "rootpod.yaml"))
	waitForPods(t, namespace)
	old, refused, _ := noWebSocket(t)
	checks, all := doctor(t, "-n", namespace, "root", "--kubeconfig=/dev/null", "--server="+old, "--insecure-skip-tls-verify", "--token="+token(t, namespace))
	want{"streams", "ok", "SPDY; the server, or a proxy before it, has no WebSocket", ""}.check(t, checks, all)
	if refused.Load() == 0 {
		t.Error("no WebSocket was tried")
	}
}

// TestDoctorUnreachable ends within its time-out; what the server would have
// to answer is not asked.
func TestDoctorUnreachable(t *testing.T) {
	for server, w := range map[string]want{
		"https://127.0.0.1:1":                         {"API server", "failed", "connection refused", "is the cluster up"},
		"https://127.0.0.1:" + deaf(t, "127.0.0.1:0"): {"API server", "failed", "no answer within 2s", ""},
	} {
		checks, all := doctor(t, "web", "--server="+server, "--timeout=2s")
		w.check(t, checks, all)
		if unknown := strings.Count(all.stdout, `"unknown"`); all.code != 1 || unknown != 11 {
			t.Errorf("doctor with %s: %d checks not known, %v, want 11 and code 1", server, unknown, all)
		}
	}

	checks, all := doctor(t, "web", "--kubeconfig=/dev/null", "--server="+server(t).String(), "--insecure-skip-tls-verify", "--token=x")
	want{"credentials", "failed", "the credentials of this user are refused", "log in again"}.check(t, checks, all)
}

// TestDoctorTarget says why there is none.
func TestDoctorTarget(t *testing.T) {
	checks, all := doctor(t, "-n", pods(t), "nothere")
	want{"target", "failed", `pods "nothere" not found`, "distroless"}.check(t, checks, all)
	checks, all = doctor(t, "-n", pods(t), "initializing")
	want{"target", "failed", "it waits: PodInitializing", "choose with -c"}.check(t, checks, all)
}

// TestVersionCluster asks the cluster, and finds this user's managers.
func TestVersionCluster(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, manifest(t, "rootpod.yaml"))
	waitForPods(t, namespace)
	if got := kdiag(t, "shell", "-n", namespace, "root", "--", "-c", "true"); got.code != 0 {
		t.Fatalf("shell: %v", got)
	}

	type manager struct{ Container, Role, Target, Profile, Version string }
	var info struct {
		Client   struct{ Version string }
		Cluster  struct{ Server, Version, Error string }
		Managers []manager
	}

	got := kdiag(t, "version", "-o", "json", "-n", namespace, "root")
	if err := json.Unmarshal([]byte(got.stdout), &info); err != nil || got.code != 0 {
		t.Fatalf("version: %v: %v", err, got)
	}
	if info.Cluster.Server != server(t).String() || !strings.HasPrefix(info.Cluster.Version, "v1.") || info.Cluster.Error != "" {
		t.Errorf("cluster = %+v, want the server and its version", info.Cluster)
	}

	name := kubectl(t, "get", "pod", "-n", namespace, "root", "-o", "jsonpath={.spec.ephemeralContainers[*].name}")
	if want := []manager{{name, "shell", "app", "chroot", info.Client.Version}}; !slices.Equal(info.Managers, want) {
		t.Errorf("managers = %+v, want %+v", info.Managers, want)
	}

	got = kdiag(t, "version", "-n", namespace, "root")
	if !strings.Contains(got.stdout, "\nmanager "+name+": shell for container app, profile chroot, ") {
		t.Errorf("version: %v, want the manager", got)
	}

	// Another user has none there.
	got = kdiagWith(t, "", []string{"HOME=" + t.TempDir(), "XDG_CONFIG_HOME=" + t.TempDir()}, "version", "-n", namespace, "root")
	if got.code != 0 || strings.Contains(got.stdout, "manager") {
		t.Errorf("another user's version: %v, want no manager", got)
	}

	got = kdiag(t, "version", "-o", "json", "--server=https://127.0.0.1:"+deaf(t, "127.0.0.1:0"))
	if got.code != 0 || !strings.Contains(got.stdout, "no answer within 2s") {
		t.Errorf("version with a deaf server: %v, want the reason and code 0", got)
	}
}
