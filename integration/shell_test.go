package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A kind of pod and what a shell in it must see.
type kind struct {
	name   string
	target []string // arguments that select it
	who    string   // $WHO, or $SAMPLE where there is none
	uid    string   // of the application
}

var kinds = []kind{
	{"scratch", []string{"deploy/web"}, "scratch", "0"},
	{"distroless", []string{"distroless"}, "distroless", "65532"},
	{"readOnlyRootFilesystem", []string{"readonly"}, "scratch", "0"},
	{"runAsNonRoot", []string{"nonroot"}, "scratch", "1000"},
	{"second container", []string{"several", "-c", "two"}, "two", "65532"},
	{"shareProcessNamespace", []string{"sharedpids", "-c", "one"}, "one", "0"},
	{"shareProcessNamespace second", []string{"sharedpids", "-c", "two"}, "two", "65532"},
	{"hostPID", []string{"hostpid"}, "hostpid", "0"},
	{"sidecar", []string{"sidecar", "-c", "proxy"}, "sidecar", "0"},
	{"init container", []string{"initializing", "-c", "setup"}, "init", "0"},
}

// look prints who the shell thinks it is with, as the target's files and
// environment tell.
const look = `cat "${KDIAG_ROOT}/data/hello.txt"; echo "who=${WHO:-$SAMPLE}"; ls "${KDIAG_ROOT}/" | tr '\n' ' '`

// TestShellKinds enters every kind of pod by every rung that takes one in.
func TestShellKinds(t *testing.T) {
	namespace := pods(t)
	for _, k := range kinds {
		for _, profile := range []string{"setns", "chroot", "baseline"} {
			t.Run(k.name+"/"+profile, func(t *testing.T) {
				t.Parallel()
				args := append([]string{"shell", "-n", namespace, "--profile", profile}, k.target...)
				got := kdiag(t, append(args, "--", "-c", look+`; echo; id -u; exit 7`)...)
				want := "hello from the target\nwho=" + k.who + "\n"
				if got.code != 7 || !strings.HasPrefix(got.stdout, want) || !strings.Contains(got.stdout, "app ") || !strings.HasSuffix(got.stdout, "\n0\n") {
					t.Errorf("shell: %v\nwant code 7 and the target's own files and environment: %q", got, want)
				}
			})
		}
	}
}

// TestShellLookOnly stays beside the target, as its own user: what needs no
// rights at all, in a namespace that enforces "restricted".
func TestShellLookOnly(t *testing.T) {
	namespace := newNamespace(t, "pod-security.kubernetes.io/enforce=restricted")
	apply(t, namespace, manifest(t, "restricted.yaml"))
	waitForPods(t, namespace)
	for _, pod := range []string{"nonroot", "distroless"} {
		t.Run(pod, func(t *testing.T) {
			got := kdiag(t, "shell", "-n", namespace, pod, "--", "-c", look+`; echo; pwd; id -u; exit 7`)
			if got.code != 7 || !strings.HasPrefix(got.stdout, "hello from the target\nwho=") || strings.HasSuffix(got.stdout, "\n0\n") {
				t.Errorf("shell: %v\nwant the target's files under $KDIAG_ROOT, and not to be root", got)
			}
			if !strings.Contains(got.stderr, "profile restricted") || !strings.Contains(got.stderr, `violates PodSecurity "restricted:latest"`) {
				t.Errorf("stderr = %q, want the rung and the cluster's reason", got.stderr)
			}
		})
	}
}

// TestShellLookOnlyRoot stays beside a target that is root's: its processes are
// seen, its files are not, and the shell says so.
func TestShellLookOnlyRoot(t *testing.T) {
	namespace := pods(t)
	got := kdiag(t, "shell", "-n", namespace, "deploy/web", "--profile=restricted", "--", "-c", `id -u; echo "${GOMAXPROCS-unset}"; ls "$KDIAG_ROOT/"; ps`)
	if !strings.HasPrefix(got.stdout, "65532\nunset\n") || strings.Contains(got.stdout, "data") || !strings.Contains(got.stdout, "/app") {
		t.Errorf("shell: %v\nwant the processes and none of the files", got)
	}
	if !strings.Contains(got.stderr, "profile restricted") || !strings.Contains(got.stderr, "Permission denied") {
		t.Errorf("stderr = %q, want the rung and why there are no files", got.stderr)
	}
}

// TestShellBaseline is the rung that Pod Security "baseline" leaves.
func TestShellBaseline(t *testing.T) {
	namespace := newNamespace(t, "pod-security.kubernetes.io/enforce=baseline")
	apply(t, namespace, manifest(t, "restricted.yaml"))
	apply(t, namespace, manifest(t, "rootpod.yaml"))
	waitForPods(t, namespace)
	for _, pod := range []string{"root", "nonroot", "distroless"} {
		t.Run(pod, func(t *testing.T) {
			got := kdiag(t, "shell", "-n", namespace, pod, "--", "-c", look+`; exit 7`)
			if got.code != 7 || !strings.HasPrefix(got.stdout, "hello from the target\nwho=") {
				t.Errorf("shell: %v\nwant to be in the target", got)
			}
			if !strings.Contains(got.stderr, "profile baseline") || !strings.Contains(got.stderr, `violates PodSecurity "baseline:latest"`) {
				t.Errorf("stderr = %q, want the rung and the cluster's reason", got.stderr)
			}
		})
	}
}

// TestShellBaselineByPolicy takes the next rung where a policy of the cluster's
// own forbids SYS_PTRACE alone.
func TestShellBaselineByPolicy(t *testing.T) {
	namespace := policed(t, "no-sys-ptrace", "baseline")
	got := kdiag(t, "shell", "-n", namespace, "root", "--", "-c", look)
	if got.code != 0 || !strings.HasPrefix(got.stdout, "hello from the target\n") ||
		!strings.Contains(got.stderr, "note: profile baseline: ") || !strings.Contains(got.stderr, "SYS_PTRACE is not for ephemeral containers") {
		t.Errorf("shell: %v\nwant profile baseline, and why", got)
	}
}

// policed is a namespace with the pod "root" and a policy of testdata/manifests
// that leaves shells a rung, which holds: the API server learns of it some
// seconds late. That is found out by dry run, for a container that came before
// the policy would stay.
func policed(t *testing.T, policy, rung string) (namespace string) {
	t.Helper()
	namespace = newNamespace(t, "kdiag-test="+policy)
	// A policy is in no namespace: another run on the same cluster has its own.
	applyAll(t, strings.ReplaceAll(manifest(t, policy+".yaml"), "kdiag-test-"+policy, namespace))
	apply(t, namespace, manifest(t, "rootpod.yaml"))
	waitForPods(t, namespace)
	eventually(t, "the policy to hold", func() bool {
		checks, _ := doctor(t, "-n", namespace, "root")
		return strings.Contains(checks["pod security: shell"].Detail, "profile "+rung+": ")
	})
	return namespace
}

// TestShellConfined looks at the shell and the manager of every rung: each is
// under a seccomp filter.
func TestShellConfined(t *testing.T) {
	namespace := pods(t)
	const filtered = "Seccomp:\t2\n"
	const script = `for p in /proc/[0-9]*; do
		case "$(tr '\0' ' ' <$p/cmdline)" in "/kdiag manager"*--profile=$0*) grep ^Seccomp: $p/status;; esac
	done; grep ^Seccomp: /proc/self/status`
	for _, profile := range []string{"setns", "chroot", "baseline"} {
		got := kdiag(t, "shell", "-n", namespace, "deploy/web", "--profile="+profile, "-q", "--", "-c", script, profile)
		if got != (result{filtered + filtered, "", 0}) {
			t.Errorf("%s: %v\nwant a filter on the manager and on the shell", profile, got)
		}
	}
}

func TestShellExitCodeAndStreams(t *testing.T) {
	namespace := pods(t)
	got := kdiag(t, "shell", "-n", namespace, "deploy/web", "--", "-c", "echo o; echo e >&2; exit 7")
	if got != (result{"o\n", "e\n", 7}) {
		t.Errorf("shell: %v\nwant o and e apart, code 7", got)
	}

	got = kdiag(t, "shell", "deploy/web", "-n", namespace, "--", "-c", "kill -TERM $$")
	if got.code != 128+15 {
		t.Errorf("shell killed by SIGTERM: %v\nwant code 143", got)
	}

	got = kdiagWith(t, "one\ntwo\n", nil, "-n", namespace, "shell", "svc/web", "--", "-c", "wc -l")
	if got.code != 0 || strings.TrimSpace(got.stdout) != "2" {
		t.Errorf("shell with stdin: %v\nwant 2 lines", got)
	}

	// A script on stdin, as with any shell.
	got = kdiagWith(t, "echo $((6*7))\nexit 3\n", nil, "shell", "-n", namespace, "-lapp=web")
	if got.code != 3 || got.stdout != "42\n" {
		t.Errorf("shell with a script: %v\nwant 42 and code 3", got)
	}
}

// TestShellBytes sends every byte there and back, more than any buffer holds.
func TestShellBytes(t *testing.T) {
	namespace := pods(t)
	var all strings.Builder
	for i := range 1 << 20 {
		all.WriteByte(byte(i * 7 >> 3))
	}
	got := kdiagWith(t, all.String(), nil, "shell", "-n", namespace, "deploy/web", "--", "-c", "cat")
	if got.code != 0 || got.stdout != all.String() {
		t.Errorf("cat of %d bytes: code %d, %d bytes back, the same: %v", all.Len(), got.code, len(got.stdout), got.stdout == all.String())
	}
}

// TestShellEnvironment takes the target's, and its working directory.
func TestShellEnvironment(t *testing.T) {
	namespace := pods(t)
	got := kdiag(t, "shell", "-n", namespace, "several", "-c", "two", "--", "-c", "echo $WHO $SAMPLE $PATH; pwd")
	if got.stdout != "two distroless /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n/home/nonroot\n" {
		t.Errorf("shell: %v\nwant the target's environment and directory, and kdiag's PATH", got)
	}

	got = kdiag(t, "shell", "-n", namespace, "several", "-c", "two", "--target-env=PATH", "--", "-c", "echo $PATH")
	if got.stdout != "/usr/bin:/bin\n" {
		t.Errorf("shell --target-env=PATH: %v\nwant the target's", got)
	}

	got = kdiag(t, "shell", "-n", namespace, "several", "--", "-c", "echo $WHO")
	if got.stdout != "one\n" || !strings.Contains(got.stderr, "note: container one; there are also: two") {
		t.Errorf("shell without -c: %v\nwant the first container and a note", got)
	}
}

// TestShellApplets works with an empty PATH.
func TestShellApplets(t *testing.T) {
	namespace := pods(t)
	got := kdiag(t, "shell", "-n", namespace, "deploy/web", "--", "-c", "PATH=; busybox --list | wc -l; echo x | sed s/x/y/ | awk '{print $1}'; ls / | grep app")
	fields := strings.Fields(got.stdout)
	if len(fields) != 3 || fields[1] != "y" || fields[2] != "app" {
		t.Fatalf("shell: %v", got)
	}
	var count int
	if _, err := fmt.Sscan(fields[0], &count); err != nil || count < 250 {
		t.Errorf("applets: %s, want 250 at least", fields[0])
	}
}

// TestShellAsTarget sees what the application sees.
func TestShellAsTarget(t *testing.T) {
	namespace := pods(t)
	for _, profile := range []string{"setns", "baseline"} {
		got := kdiag(t, "shell", "-n", namespace, "nonroot", "--profile="+profile, "--as-target", "--", "-c",
			"id -u; id -g; id -G; grep -E 'Cap(Eff|Prm|Bnd)' /proc/self/status; grep -E 'Cap(Eff|Prm|Bnd)' /proc/1/status")
		lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
		if len(lines) != 9 || lines[0] != "1000" || lines[1] != "1000" || !strings.Contains(lines[2], "2000") ||
			strings.Join(lines[3:6], "|") != strings.Join(lines[6:], "|") {
			t.Errorf("--as-target, profile %s: %v\nwant uid and gid 1000, group 2000, and the capabilities of process 1", profile, got)
		}
	}
}

// TestShellReused finds the user's container again; another user has one of
// their own.
func TestShellReused(t *testing.T) {
	namespace := pods(t)
	first := kdiag(t, "manage", "-n", namespace, "readonly")
	again := kdiag(t, "manage", "-n", namespace, "readonly")
	if first.code != 0 || first.stdout == "" || again != first {
		t.Errorf("manage twice: %v\nand %v\nwant the same container", first, again)
	}

	other := kdiagWith(t, "", []string{"XDG_CONFIG_HOME=" + t.TempDir()}, "manage", "-n", namespace, "readonly")
	if other.code != 0 || other.stdout == first.stdout {
		t.Errorf("manage by another user: %v\nwant a container of their own", other)
	}

	key, err := os.Stat(filepath.Join(shared.home, ".config", "kdiag", "key.pem"))
	if err != nil || key.Mode().Perm() != 0o600 {
		t.Errorf("the user's key: %v, %v, want a file of mode 0600", key, err)
	}
}

// TestShellReplaced starts a new container where the old one died.
func TestShellReplaced(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, manifest(t, "rootpod.yaml"))
	waitForPods(t, namespace)
	first := kdiag(t, "manage", "-n", namespace, "root")
	// From within: it takes the shell with it.
	got := kdiag(t, "shell", "-n", namespace, "root", "--", "-c", "kill -9 $(pgrep -f 'kdiag manager')")
	if got.code == 0 {
		t.Errorf("shell whose container was killed: %v\nwant a failure", got)
	}

	// The API may still say that it runs; then the hint says what to do.
	got = kdiag(t, "shell", "-n", namespace, "root", "--", "-c", "echo alive")
	if got.code != 0 {
		if !strings.Contains(got.stderr, "hint: the container it ran in has ended; run it again") {
			t.Errorf("shell after that: %v\nwant the hint", got)
		}
		got = kdiag(t, "shell", "-n", namespace, "root", "--", "-c", "echo alive")
	}

	if got.code != 0 || got.stdout != "alive\n" {
		t.Errorf("shell after that: %v\nwant a new container", got)
	}

	second := kdiag(t, "manage", "-n", namespace, "root")
	if second.stdout == first.stdout || second.code != 0 {
		t.Errorf("manage: %v, want another container than %q", second, first.stdout)
	}
}

// TestShellLeaves has the container end by itself, and leave the target alone.
func TestShellLeaves(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, manifest(t, "rootpod.yaml"))
	waitForPods(t, namespace)
	got := kdiag(t, "manage", "-n", namespace, "root", "--idle-timeout=2s")
	name := strings.TrimSpace(got.stdout)
	eventually(t, "the idle container to end", func() bool {
		return kubectl(t, "get", "pod", "root", "-n", namespace, "-o",
			`jsonpath={.status.ephemeralContainerStatuses[?(@.name=="`+name+`")].state.terminated.exitCode}`) == "0"
	})
	if restarts := kubectl(t, "get", "pod", "root", "-n", namespace, "-o", "jsonpath={.status.containerStatuses[0].restartCount}"); restarts != "0" {
		t.Errorf("the application restarted %s times", restarts)
	}
}

// TestPlugin is one file in an empty directory, as kubectl finds it.
func TestPlugin(t *testing.T) {
	namespace := pods(t)
	dir := t.TempDir()
	binary, err := os.ReadFile(shared.binary())
	if err != nil {
		t.Fatal(err)
	}
	if err = os.WriteFile(filepath.Join(dir, "kubectl-kdiag"), binary, 0o755); err != nil {
		t.Fatal(err)
	}

	got := run(t, "", shared.env("PATH="+dir+":"+os.Getenv("PATH")), "kubectl", "kdiag", "shell", "deploy/web", "-n", namespace, "--", "-c", "echo from the plugin; exit 9")
	if got.stdout != "from the plugin\n" || got.code == 0 {
		t.Errorf("kubectl kdiag: %v", got)
	}
}
