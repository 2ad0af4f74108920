package integration

import (
	"strings"
	"testing"

	"kdiag/integration/kit"
)

// TestDoctorWell finds nothing wrong, prints a line for each check, and changes
// nothing.
func TestDoctorWell(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	kit.WaitUntil(t, "the node to list kdiag's image, which it does once a minute", func() bool {
		images := kit.RunKubectl(t, "get", "nodes", "-o", "jsonpath={.items[*].status.images[*].names}")
		return strings.Contains(images, `"`+kit.ImageUnderTest()+`"`)
	})

	const state = "{.metadata.generation} {.spec.ephemeralContainers}"
	before := kit.ReadPodField(t, namespace, "root", state)
	got := kit.RunKdiag(t, "doctor", "-n", namespace, "root")
	const checks = 16
	if got.Code != 0 || strings.Count(got.Stdout, "✓ ") != checks || strings.Count(got.Stdout, "\n") != checks || got.Stderr != "" {
		t.Errorf("doctor: %v\nwant %d lines, each with ✓", got, checks)
	}

	for _, line := range []string{
		"✓ streams                WebSocket\n", "profile chroot: chroot into the target\n", "a container with NET_ADMIN is allowed\n",
	} {
		if !strings.Contains(got.Stdout, line) {
			t.Errorf("doctor: %v\nwant %q", got, line)
		}
	}

	if after := kit.ReadPodField(t, namespace, "root", state); after != before {
		t.Errorf("the pod: %s, before: %s, want no change", after, before)
	}

	// Without a target the checks that need one are unknown, which is no failure.
	report := kit.RunDoctor(t, "-n", namespace)
	report.Verify(t, "target", "unknown", "none given", "")
	report.Verify(t, "streams", "unknown", "needs a target", "")
	report.Verify(t, "pod security: shell", "ok", "has no Pod Security label", "")
	report.Verify(t, "credentials", "ok", "accepted as ", "")

	if report.Code != 0 {
		t.Errorf("doctor without a target: %v, want code 0", report)
	}
}

// TestDoctorImage tells apart an image that has run, one that nobody knows and one
// that the kubelet could not get.
func TestDoctorImage(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	const absent = "--image=localhost/nothere:1"
	report := kit.RunDoctor(t, "-n", namespace, "root", absent)
	report.Verify(t, "image", "unknown", "may still be able to pull it", "try it with kubectl kdiag shell")

	_ = kit.RunKdiag(t, "shell", "-n", namespace, "root", absent, "--pull-policy=Never", "--timeout=30s")
	kit.WaitForPodField(t, namespace, "root", "{.status.ephemeralContainerStatuses}", "ErrImageNeverPull")
	report = kit.RunDoctor(t, "-n", namespace, "root", absent)
	report.Verify(t, "image", "failed", "ErrImageNeverPull", "choose another with --image")

	if got := kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "true"); got.Code != 0 {
		t.Fatalf("shell: %v", got)
	}

	// The status tells of a start a second later.
	kit.WaitUntil(t, "the container's start in the pod's status", func() bool {
		report := kit.RunDoctor(t, "-n", namespace, "root")
		return strings.Contains(report.Checks["image"].Detail, "has used it")
	})
}

// TestDoctorPodSecurity says what the namespace admits: by a dry run with a target,
// by the namespace's label without.
func TestDoctorPodSecurity(t *testing.T) {
	for _, level := range []string{"baseline", "restricted"} {
		namespace := kit.CreatePods(t, "restricted.yaml", "pod-security.kubernetes.io/enforce="+level)
		report := kit.RunDoctor(t, "-n", namespace, "nonroot")
		report.Verify(t, "pod security: shell", "ok", "profile "+level+": ", "")
		report.Verify(t, "pod security: shell", "ok", `chroot was refused: pods "nonroot" is forbidden: violates PodSecurity`, "")
		report.Verify(t, "pod security: redir", "failed", "violates PodSecurity", "NET_ADMIN")

		verifyCaptureCheck(t, report, level)

		if report.Code != 1 {
			t.Errorf("doctor in a namespace that is %s: %v, want code 1", level, report)
		}

		report = kit.RunDoctor(t, "-n", namespace)
		report.Verify(t, "pod security: shell", "ok", "profile "+level+` is allowed, according to the label of namespace "`+namespace+`"`, "")
		report.Verify(t, "pod security: redir", "failed", "according to the label of namespace", "level privileged")
		verifyCaptureCheck(t, report, level)
	}

	report := kit.RunDoctor(t, "-n", kit.SharedPods(t), "hostnetwork")
	report.Verify(t, "pod security: redir", "failed", "hostNetwork", "without hostNetwork")
	report.Verify(t, "pod security: capture", "failed", "hostNetwork", "without hostNetwork")
}

// verifyCaptureCheck checks what is said of captures at a Pod Security level.
func verifyCaptureCheck(t *testing.T, report kit.DoctorReport, level string) {
	t.Helper()
	if level == "baseline" {
		report.Verify(t, "pod security: capture", "ok", "profile default-net-raw", "")
		return
	}
	report.Verify(t, "pod security: capture", "failed", "", "baseline")
}

// TestDoctorWithoutWebSocket goes through a proxy that knows no WebSocket.
func TestDoctorWithoutWebSocket(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	proxy := kit.StartOldProxy(t)
	through := proxy.Flags(kit.CreateAdminToken(t, namespace))
	report := kit.RunDoctor(t, append(through, "-n", namespace, "root")...)
	report.Verify(t, "streams", "ok", "SPDY; the server, or a proxy before it, doesn't support WebSocket", "")
	proxy.VerifyTried(t)
}

// TestDoctorUnreachable ends within its time-out where the API server cannot be
// reached, and skips the checks that need it.
func TestDoctorUnreachable(t *testing.T) {
	for port, words := range map[string]string{
		"1":                                   "connection refused",
		kit.StartDeafServer(t, "127.0.0.1:0"): "no answer within 2s",
	} {
		server := "https://127.0.0.1:" + port
		report := kit.RunDoctor(t, "web", "--server="+server, "--timeout=2s")
		report.Verify(t, "API server", "failed", words, "")
		if unknown := strings.Count(report.Stdout, `"unknown"`); report.Code != 1 || unknown != 14 {
			t.Errorf("doctor with %s: %d checks not known, %v, want 14 and code 1", server, unknown, report)
		}
	}

	report := kit.RunDoctor(t, "web", "--server=https://127.0.0.1:1", "--timeout=2s")
	report.Verify(t, "API server", "failed", "connection refused", "check that the cluster is up")

	report = kit.RunDoctor(t, "web", "--kubeconfig=/dev/null", "--server="+kit.ReadServerURL(t).String(), "--insecure-skip-tls-verify", "--token=x")
	report.Verify(t, "credentials", "failed", "rejected the credentials of this user", "log in again")
}

// TestDoctorTarget says why there is no target.
func TestDoctorTarget(t *testing.T) {
	report := kit.RunDoctor(t, "-n", kit.SharedPods(t), "nothere")
	report.Verify(t, "target", "failed", `pods "nothere" not found`, "distroless")
	report = kit.RunDoctor(t, "-n", kit.SharedPods(t), "initializing")
	report.Verify(t, "target", "failed", "it is waiting: PodInitializing", "choose one with -c")
}

// TestDoctorRights names the rights that a user lacks. With the rights that it
// lists, and no more, the commands work.
func TestDoctorRights(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	report := kit.RunDoctor(t, "-n", namespace, "root", "--as="+namespace+"-nobody")
	report.Verify(t, "rights: shell", "failed", "not allowed to get pods, patch pods/ephemeralcontainers, create pods/exec in namespace", `verb "create" on pods/exec`)
	report.Verify(t, "rights: redir", "failed", "create pods/portforward", `verb "get" on pods/log`)
	report.Verify(t, "rights: logs", "failed", "not allowed to get pods, get pods/log", `verb "get" on pods`)
	report.Verify(t, "target", "failed", "not allowed to get pods", `verb "get" on pods`)
	report.Verify(t, "streams", "unknown", "skipped", "")

	if report.Code != 1 || report.Stderr != "" {
		t.Errorf("doctor without rights: %v, want code 1 and no more words", report)
	}

	// A role for each command, with the rights that doctor lists.
	report = kit.RunDoctor(t, "-n", namespace, "root")
	for _, command := range []string{"shell", "redir"} {
		user := namespace + "-" + command
		for i, rule := range strings.Split(report.Checks["rights: "+command].Detail, "; ") {
			at := strings.LastIndex(rule, " ")
			name := command + "-" + string(rune('a'+i))
			kit.CreateRole(t, namespace, name, user, "--verb="+strings.ReplaceAll(rule[:at], " ", ""), "--resource="+rule[at+1:])
		}

		asUser := kit.RunDoctor(t, "-n", namespace, "root", "--as="+user)
		asUser.Verify(t, "rights: "+command, "ok", "", "")
		asUser.Verify(t, "pod security: "+command, "ok", "", "")
		asUser.Verify(t, "kernel", "unknown", "not allowed to get nodes", `verb "get" on nodes`)
	}

	if got := kit.RunKdiag(t, "shell", "-n", namespace, "root", "--as="+namespace+"-shell", "--", "-c", "echo there"); got.Stdout != "there\n" {
		t.Errorf("shell with the rights that doctor lists: %v", got)
	}

	here := kit.StartLocalServer(t, kit.EchoBytes)
	kit.StartRedirects(t, 1, "-n", namespace, "root", "8080:"+here.Port, "--as="+namespace+"-redir").Interrupt()
}

// TestDoctorAsksManager asks the manager of redirects in the pod: what it found in
// the kernel counts more than the node's version.
func TestDoctorAsksManager(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	here := kit.StartLocalServer(t, kit.EchoBytes)
	kit.StartRedirects(t, 1, "-n", namespace, "root", "8080:"+here.Port).Interrupt()

	report := kit.RunDoctor(t, "-n", namespace, "root")
	report.Verify(t, "kernel", "ok", "nftables with the owner flag, according to the manager in container kdiag-net-", "")
}
