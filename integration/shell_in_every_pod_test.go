package integration

import (
	"strconv"
	"strings"
	"testing"

	"kdiag/integration/kit"
)

// printTarget is a script that prints which target the shell is in, by the
// target's files and environment.
const printTarget = `cat "${KDIAG_ROOT}/data/hello.txt"; echo "who=${WHO:-$SAMPLE}"; ls "${KDIAG_ROOT}/" | tr '\n' ' '`

// TestShellKinds enters every kind of pod with every profile that can.
func TestShellKinds(t *testing.T) {
	namespace := kit.SharedPods(t)
	for _, k := range kit.PodKinds {
		for _, profile := range []string{"setns", "chroot", "baseline"} {
			t.Run(k.Name+"/"+profile, func(t *testing.T) {
				t.Parallel()
				args := append([]string{"shell", "-n", namespace, "--profile", profile}, k.Target...)
				got := kit.RunKdiag(t, append(args, "--", "-c", printTarget+`; echo; id -u; exit 7`)...)
				want := "hello from the target\nwho=" + k.Who + "\n"
				if got.Code != 7 || !strings.HasPrefix(got.Stdout, want) || !strings.Contains(got.Stdout, "app ") || !strings.HasSuffix(got.Stdout, "\n0\n") {
					t.Errorf("shell: %v\nwant code 7 and the target's own files and environment: %q", got, want)
				}
			})
		}
	}
}

// TestShellEnvironment has the target's environment in the shell, and its working
// directory.
func TestShellEnvironment(t *testing.T) {
	namespace := kit.SharedPods(t)
	got := kit.RunKdiag(t, "shell", "-n", namespace, "several", "-c", "two", "--", "-c", "echo $WHO $SAMPLE $PATH; pwd")
	if got.Stdout != "two distroless /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n/home/nonroot\n" {
		t.Errorf("shell: %v\nwant the target's environment and directory, and kdiag's PATH", got)
	}

	got = kit.RunKdiag(t, "shell", "-n", namespace, "several", "-c", "two", "--target-env=PATH", "--", "-c", "echo $PATH")
	if got.Stdout != "/usr/bin:/bin\n" {
		t.Errorf("shell --target-env=PATH: %v\nwant the target's", got)
	}

	got = kit.RunKdiag(t, "shell", "-n", namespace, "several", "--", "-c", "echo $WHO")
	if got.Stdout != "one\n" || !strings.Contains(got.Stderr, "note: using container one; the pod also has: two") {
		t.Errorf("shell without -c: %v\nwant the first container and a note", got)
	}
}

// TestShellApplets finds the shell's own tools with an empty PATH.
func TestShellApplets(t *testing.T) {
	namespace := kit.SharedPods(t)
	got := kit.RunKdiag(t, "shell", "-n", namespace, "deploy/web", "--", "-c", "PATH=; busybox --list | wc -l; echo x | sed s/x/y/ | awk '{print $1}'; ls / | grep app")
	words := strings.Fields(got.Stdout)
	if len(words) != 3 || words[1] != "y" || words[2] != "app" {
		t.Fatalf("shell: %v", got)
	}

	if count, err := strconv.Atoi(words[0]); err != nil || count < 250 {
		t.Errorf("applets: %s, want at least 250", words[0])
	}
}

// TestShellAsTarget has the application's user, groups and capabilities.
func TestShellAsTarget(t *testing.T) {
	namespace := kit.SharedPods(t)
	for _, profile := range []string{"setns", "baseline"} {
		got := kit.RunKdiag(t, "shell", "-n", namespace, "nonroot", "--profile="+profile, "--as-target", "--", "-c",
			"id -u; id -g; id -G; grep -E 'Cap(Eff|Prm|Bnd)' /proc/self/status; grep -E 'Cap(Eff|Prm|Bnd)' /proc/1/status")
		lines := strings.Split(strings.TrimSpace(got.Stdout), "\n")
		if len(lines) != 9 || lines[0] != "1000" || lines[1] != "1000" || !strings.Contains(lines[2], "2000") ||
			strings.Join(lines[3:6], "|") != strings.Join(lines[6:], "|") {
			t.Errorf("--as-target, profile %s: %v\nwant uid and gid 1000, group 2000, and the capabilities of process 1", profile, got)
		}
	}
}

// TestShellConfined finds a seccomp filter on the shell and the manager of every
// profile.
func TestShellConfined(t *testing.T) {
	namespace := kit.SharedPods(t)

	const filtered = "Seccomp:\t2\n"
	const script = `for p in /proc/[0-9]*; do
		case "$(tr '\0' ' ' <$p/cmdline)" in "/kdiag manager"*--profile=$0*) grep ^Seccomp: $p/status;; esac
	done; grep ^Seccomp: /proc/self/status`

	for _, profile := range []string{"setns", "chroot", "baseline"} {
		got := kit.RunKdiag(t, "shell", "-n", namespace, "deploy/web", "--profile="+profile, "-q", "--", "-c", script, profile)
		if got != kit.NewResult(filtered+filtered, "", 0) {
			t.Errorf("profile %s: %v\nwant a filter on the manager and on the shell", profile, got)
		}
	}
}
