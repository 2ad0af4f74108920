package integration

import (
	"kdiag/integration/kit"
	"strings"
	"testing"
)

// TestDoctorWell finds nothing wrong, in a line for each check, and changes
// nothing.
func TestDoctorWell(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	kit.ApplyManifest(t, namespace, kit.ReadManifest(t, "rootpod.yaml"))
	kit.WaitForPods(t, namespace)
	containers := func() string {
		return kit.RunKubectl(t, "get", "pod", "-n", namespace, "root", "-o", "jsonpath={.metadata.generation} {.spec.ephemeralContainers}")
	}
	kit.WaitUntil(t, "the node to list kdiag's image, which it does once a minute", func() bool {
		return strings.Contains(kit.RunKubectl(t, "get", "nodes", "-o", "jsonpath={.items[*].status.images[*].names}"), `"`+kit.ImageUnderTest()+`"`)
	})
	before := containers()
	got := kit.RunKdiag(t, "doctor", "-n", namespace, "root")
	const checks = 13
	if got.Code != 0 || strings.Count(got.Stdout, "✓ ") != checks || strings.Count(got.Stdout, "\n") != checks || got.Stderr != "" {
		t.Errorf("doctor: %v\nwant %d lines, each with ✓", got, checks)
	}

	for _, line := range []string{"✓ streams              WebSocket\n", "profile chroot: chroot into the target\n", "a container with NET_ADMIN is admitted\n"} {
		if !strings.Contains(got.Stdout, line) {
			t.Errorf("doctor: %v\nwant %q", got, line)
		}
	}

	if after := containers(); after != before {
		t.Errorf("the pod: %s, before: %s, want no change", after, before)
	}

	// Without a target what is for one is not known, which is no failure.
	without, all := kit.RunDoctor(t, "-n", namespace)
	for _, w := range []kit.ExpectedCheck{
		kit.ExpectCheck("target", "unknown", "none given", ""),
		kit.ExpectCheck("streams", "unknown", "needs a target", ""),
		kit.ExpectCheck("pod security: shell", "ok", "has no label", ""),
		kit.ExpectCheck("credentials", "ok", "accepted as ", ""),
	} {
		w.Verify(t, without, all)
	}

	if all.Code != 0 {
		t.Errorf("doctor without a target: %v, want code 0", all)
	}
}

// TestDoctorImage tells an image that has run from one that nobody knows and
// one that the kubelet could not have.
func TestDoctorImage(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	kit.ApplyManifest(t, namespace, kit.ReadManifest(t, "rootpod.yaml"))
	kit.WaitForPods(t, namespace)
	about := func(image string, w kit.ExpectedCheck) {
		t.Helper()
		checks, all := kit.RunDoctor(t, "-n", namespace, "root", "--image="+image)
		w.Verify(t, checks, all)
	}

	about("localhost/nothere:1", kit.ExpectCheck("image", "unknown", "only the node knows", "kdiag shell tries it"))
	_ = kit.RunKdiag(t, "shell", "-n", namespace, "root", "--image=localhost/nothere:1", "--pull-policy=Never", "--timeout=30s")
	kit.WaitUntil(t, "the kubelet's word in the pod's status", func() bool {
		return strings.Contains(kit.RunKubectl(t, "get", "pod", "-n", namespace, "root", "-o", "jsonpath={.status.ephemeralContainerStatuses}"), "ErrImageNeverPull")
	})
	about("localhost/nothere:1", kit.ExpectCheck("image", "failed", "ErrImageNeverPull", "--image REF"))
	if got := kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "true"); got.Code != 0 {
		t.Fatalf("shell: %v", got)
	}

	// The status learns of a start a second later.
	kit.WaitUntil(t, "the container's start in the pod's status", func() bool {
		checks, _ := kit.RunDoctor(t, "-n", namespace, "root")
		return strings.Contains(checks["image"].Detail, "has run with it")
	})
}

// TestDoctorPodSecurity says by the namespace's policy what is admitted: by a
// dry run with a target, by the label without.
func TestDoctorPodSecurity(t *testing.T) {
	for level, pod := range map[string]string{"baseline": "nonroot", "restricted": "nonroot"} {
		namespace := kit.CreateNamespace(t, "pod-security.kubernetes.io/enforce="+level)
		kit.ApplyManifest(t, namespace, kit.ReadManifest(t, "restricted.yaml"))
		kit.WaitForPods(t, namespace)
		checks, all := kit.RunDoctor(t, "-n", namespace, pod)
		for _, w := range []kit.ExpectedCheck{
			kit.ExpectCheck("pod security: shell", "ok", "profile "+level+": ", ""),
			kit.ExpectCheck("pod security: shell", "ok", `chroot was refused: pods "`+pod+`" is forbidden: violates PodSecurity`, ""),
			kit.ExpectCheck("pod security: redir", "failed", "violates PodSecurity", "NET_ADMIN"),
		} {
			w.Verify(t, checks, all)
		}

		if all.Code != 1 {
			t.Errorf("doctor in a namespace that is %s: code %d, want 1", level, all.Code)
		}

		checks, all = kit.RunDoctor(t, "-n", namespace)
		for _, w := range []kit.ExpectedCheck{
			kit.ExpectCheck("pod security: shell", "ok", "profile "+level+`, by the label of namespace "`+namespace+`"`, ""),
			kit.ExpectCheck("pod security: redir", "failed", "by the label of namespace", "level privileged"),
		} {
			w.Verify(t, checks, all)
		}
	}

	checks, all := kit.RunDoctor(t, "-n", kit.SharedPods(t), "hostnetwork")
	kit.ExpectCheck("pod security: redir", "failed", "hostNetwork", "a network of its own").Verify(t, checks, all)
}

// TestDoctorWithoutWebSocket goes through a proxy that knows no WebSocket.
func TestDoctorWithoutWebSocket(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	kit.ApplyManifest(t, namespace, kit.ReadManifest(t, "rootpod.yaml"))
	kit.WaitForPods(t, namespace)
	old, refused, _ := kit.StartProxyWithoutWebSocket(t)
	checks, all := kit.RunDoctor(t, "-n", namespace, "root", "--kubeconfig=/dev/null", "--server="+old, "--insecure-skip-tls-verify", "--token="+kit.CreateAdminToken(t, namespace))
	kit.ExpectCheck("streams", "ok", "SPDY; the server, or a proxy before it, has no WebSocket", "").Verify(t, checks, all)
	if refused.Load() == 0 {
		t.Error("no WebSocket was tried")
	}
}

// TestDoctorUnreachable ends within its time-out; what the server would have
// to answer is not asked.
func TestDoctorUnreachable(t *testing.T) {
	for server, w := range map[string]kit.ExpectedCheck{
		"https://127.0.0.1:1": kit.ExpectCheck("API server", "failed", "connection refused", "is the cluster up"),
		"https://127.0.0.1:" + kit.StartDeafServer(t, "127.0.0.1:0"): kit.ExpectCheck("API server", "failed", "no answer within 2s", ""),
	} {
		checks, all := kit.RunDoctor(t, "web", "--server="+server, "--timeout=2s")
		w.Verify(t, checks, all)
		if unknown := strings.Count(all.Stdout, `"unknown"`); all.Code != 1 || unknown != 11 {
			t.Errorf("doctor with %s: %d checks not known, %v, want 11 and code 1", server, unknown, all)
		}
	}

	checks, all := kit.RunDoctor(t, "web", "--kubeconfig=/dev/null", "--server="+kit.ReadServerURL(t).String(), "--insecure-skip-tls-verify", "--token=x")
	kit.ExpectCheck("credentials", "failed", "the credentials of this user are refused", "log in again").Verify(t, checks, all)
}

// TestDoctorTarget says why there is none.
func TestDoctorTarget(t *testing.T) {
	checks, all := kit.RunDoctor(t, "-n", kit.SharedPods(t), "nothere")
	kit.ExpectCheck("target", "failed", `pods "nothere" not found`, "distroless").Verify(t, checks, all)
	checks, all = kit.RunDoctor(t, "-n", kit.SharedPods(t), "initializing")
	kit.ExpectCheck("target", "failed", "it waits: PodInitializing", "choose with -c").Verify(t, checks, all)
}

// TestDoctorRights names what a user may not do; with the rights that it lists
// and no more, the commands work.
func TestDoctorRights(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	kit.ApplyManifest(t, namespace, kit.ReadManifest(t, "rootpod.yaml"))
	kit.WaitForPods(t, namespace)
	nobody, all := kit.RunDoctor(t, "-n", namespace, "root", "--as="+namespace+"-nobody")
	for _, w := range []kit.ExpectedCheck{
		kit.ExpectCheck("rights: shell", "failed", "no right to get pods, watch pods, patch pods/ephemeralcontainers, create pods/exec in namespace", `verb "create" on pods/exec`),
		kit.ExpectCheck("rights: redir", "failed", "create pods/portforward", `verb "get" on pods/log`),
		kit.ExpectCheck("rights: logs", "failed", "no right to get pods, list pods, watch pods, get pods/log", `verb "watch" on pods`),
		kit.ExpectCheck("target", "failed", "no right to get pods", `verb "get" on pods`),
		kit.ExpectCheck("streams", "unknown", "not asked", ""),
	} {
		w.Verify(t, nobody, all)
	}

	if all.Code != 1 || all.Stderr != "" {
		t.Errorf("doctor without rights: %v, want code 1 and no more words", all)
	}

	// A role for each command, of what doctor lists.
	well, all := kit.RunDoctor(t, "-n", namespace, "root")
	for _, command := range []string{"shell", "redir"} {
		user := namespace + "-" + command
		for i, rule := range strings.Split(well["rights: "+command].Detail, "; ") {
			at := strings.LastIndex(rule, " ")
			name := command + "-" + string(rune('a'+i))
			kit.RunKubectl(t, "create", "role", "-n", namespace, name, "--verb="+strings.ReplaceAll(rule[:at], " ", ""), "--resource="+rule[at+1:])
			kit.RunKubectl(t, "create", "rolebinding", "-n", namespace, name, "--role="+name, "--user="+user)
		}

		checks, all := kit.RunDoctor(t, "-n", namespace, "root", "--as="+user)
		for _, w := range []kit.ExpectedCheck{
			kit.ExpectCheck("rights: "+command, "ok", "", ""),
			kit.ExpectCheck("pod security: "+command, "ok", "", ""),
			kit.ExpectCheck("kernel", "unknown", "no right to get nodes", `verb "get" on nodes`),
		} {
			w.Verify(t, checks, all)
		}
	}

	if got := kit.RunKdiag(t, "shell", "-n", namespace, "root", "--as="+namespace+"-shell", "--", "-c", "echo there"); got.Stdout != "there\n" {
		t.Errorf("shell with the rights that doctor lists: %v", got)
	}

	redir := kit.StartRedirects(t, 1, "-n", namespace, "root", "8080:"+kit.StartLocalServer(t, kit.EchoBack).Port, "--as="+namespace+"-redir")
	redir.Interrupt()
}

// TestDoctorAsksManager has a manager of redirects in the pod: what it found the
// kernel to have counts more than the node's version.
func TestDoctorAsksManager(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	kit.ApplyManifest(t, namespace, kit.ReadManifest(t, "rootpod.yaml"))
	kit.WaitForPods(t, namespace)
	redir := kit.StartRedirects(t, 1, "-n", namespace, "root", "8080:"+kit.StartLocalServer(t, kit.EchoBack).Port)
	redir.Interrupt()
	checks, all := kit.RunDoctor(t, "-n", namespace, "root")
	kit.ExpectCheck("kernel", "ok", "nftables with the owner flag, as the manager in container kdiag-net-", "").Verify(t, checks, all)
}
