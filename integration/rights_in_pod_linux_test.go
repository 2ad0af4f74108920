package integration

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"kdiag/integration/kit"
)

// TestShellRunsNothingOfTheTargets opens shells on a terminal beside an application
// without rights. Its environment names a program of its own wherever a shell might
// look for one.
func TestShellRunsNothingOfTheTargets(t *testing.T) {
	namespace := kit.CreatePods(t, "hostile.yaml")
	for _, profile := range []string{"auto", "setns", "chroot", "baseline"} {
		x := kit.OpenTerminal(t)
		x.OpenShell("hostile/app:", "-n", namespace, "--profile="+profile, "hostile")
		x.TypeLine(`set -x; ps >/dev/null; set +x; if true; then`)
		x.TypeLine(`echo "colour $COLOUR $((40+1))"; fi`)
		x.WaitForText("colour blue 41")
		x.TypeLine("exit 7")
		x.WaitForPrompt()
	}

	if got := kit.RunKdiag(t, "shell", "-n", namespace, "-q", "hostile", "--", "-c", "cat /w/marks; echo a/b c"); got.Stdout != "a/b c\n" {
		t.Errorf("shell: %v\nwant nothing executed of /w/x, and IFS its own", got)
	}
}

// TestRightsTable compares the rights of each of kdiag's processes in a pod, with
// every profile, with the table of docs/security.md. The application has none.
func TestRightsTable(t *testing.T) {
	kit.RequireOwnCluster(t, "the processes of a pod")
	namespace := kit.CreatePods(t, "hostile.yaml")
	want := readRightsTable(t)
	got := map[podProcess]string{}
	for _, profile := range []string{"setns", "chroot", "baseline", "restricted"} {
		addShellRights(t, got, namespace, profile)
		addStandingRights(t, got, want, namespace, profile)
	}

	addNetRights(t, got, want, namespace)

	for p, sets := range got {
		if want[p] != sets {
			t.Errorf("%s, %s: docs/security.md says\n%s, it is\n%s", p.name, p.profile, want[p], sets)
		}
	}

	if len(want) != len(got) {
		t.Errorf("docs/security.md has %d rows, want %d", len(want), len(got))
	}
}

// podProcess names a process of kdiag's in a pod, and the profile of its container.
type podProcess struct{ name, profile string }

// rightsFields lists the columns of the table, by their names in /proc/PID/status.
var rightsFields = []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"}

// readRightsTable reads the table of docs/security.md: the rights of each process,
// in the form of parseRights.
func readRightsTable(t *testing.T) map[podProcess]string {
	t.Helper()
	text, err := os.ReadFile(kit.RootPath("docs/security.md"))
	if err != nil {
		t.Fatal(err)
	}

	rows := map[podProcess]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 2+len(rightsFields) {
			continue
		}

		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if _, err := strconv.ParseUint(cells[2], 16, 64); err == nil {
			rows[podProcess{cells[0], cells[1]}] = strings.Join(cells[2:], " ")
		}
	}

	return rows
}

// parseRights returns what /proc/PID/status says, in the table's form.
func parseRights(status string) string {
	values := map[string]string{}
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		values[name] = strings.TrimSpace(value)
	}

	var sets []string
	for _, name := range rightsFields {
		sets = append(sets, strings.TrimPrefix(values[name], "00000000"))
	}
	return strings.Join(sets, " ")
}

// addShellRights reads the rights of the shells with a profile.
func addShellRights(t *testing.T, got map[podProcess]string, namespace, profile string) {
	t.Helper()
	for name, flags := range map[string][]string{"shell": nil, "shell --as-target": {"--as-target"}, "shell --keep-capabilities": {"--keep-capabilities"}} {
		line := append([]string{"shell", "-n", namespace, "--profile=" + profile, "-q", "hostile"}, flags...)
		out := kit.RunKdiag(t, append(line, "--", "-c", "cat /proc/self/status")...)
		if out.Code != 0 {
			t.Fatalf("%s of profile %s: %v", name, profile, out)
		}
		got[podProcess{name, profile}] = parseRights(out.Stdout)
	}
}

// addStandingRights reads the rights of the processes that stand by while a shell
// and "ps --watch" run.
func addStandingRights(t *testing.T, got, want map[podProcess]string, namespace, profile string) {
	t.Helper()
	target := []string{"-n", namespace, "--profile=" + profile, "hostile"}
	container := strings.TrimSpace(kit.RunKdiag(t, append([]string{"manage"}, target...)...).Stdout)
	shell := kit.StartKdiag(t, append([]string{"shell", "-q"}, append(target, "--", "-c", "exec sleep 1000")...)...)
	defer shell.Stop()
	ps := kit.StartKdiag(t, append([]string{"ps", "--watch", "-o", "json"}, target...)...)
	defer ps.Stop()

	for name, words := range map[string][2]string{
		"manager": {"manager", "--role=shell"}, "lifeline": {"enter", "--lifeline"}, "inspect": {"inspect", "--container-id="},
	} {
		p := podProcess{name, profile}
		got[p] = waitForRights(t, namespace, container, words, want[p])
	}
}

// addNetRights reads the rights of redir's manager.
func addNetRights(t *testing.T, got, want map[podProcess]string, namespace string) {
	t.Helper()
	defer kit.StartKdiag(t, "redir", "-n", namespace, "hostile", "8080:1").Stop()
	name := waitForNetContainer(t, namespace)
	p := podProcess{"manager", "net (`redir`)"}
	got[p] = waitForRights(t, namespace, name, [2]string{"manager", "--role=net"}, want[p])
}

// waitForNetContainer waits until a net container runs in the pod "hostile", and
// returns its name.
func waitForNetContainer(t *testing.T, namespace string) (name string) {
	t.Helper()
	kit.WaitUntil(t, "the net container", func() bool {
		names := kit.ReadPodField(t, namespace, "hostile", `{range .status.ephemeralContainerStatuses[?(@.state.running)]}{.name}{"\n"}{end}`)
		for line := range strings.Lines(names) {
			if strings.HasPrefix(line, "kdiag-net") {
				name = strings.TrimSpace(line)
			}
		}
		return name != ""
	})

	return name
}

// waitForRights waits until a process in a container has the rights that are
// wanted, and returns those that it has in the end. It begins with more, and gives
// them up in its first moments.
func waitForRights(t *testing.T, namespace, container string, words [2]string, want string) string {
	t.Helper()
	got := ""
	kit.WaitAtMost(20*time.Second, func() bool {
		if status := readStatusInContainer(t, namespace, container, words); status != "" {
			got = parseRights(status)
		}
		return got == want
	})
	return got
}

// readStatusInContainer reads /proc/PID/status of the process in a container of the
// pod "hostile" that has these words in its command line. It returns nothing if
// there is none yet.
func readStatusInContainer(t *testing.T, namespace, container string, words [2]string) string {
	t.Helper()
	id := kit.ReadContainerID(t, namespace, "hostile", fmt.Sprintf(`{.status.ephemeralContainerStatuses[?(@.name==%q)].containerID}`, container))
	if id == "" {
		return ""
	}

	for _, pid := range kit.ListContainerProcesses(id) {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		args := strings.Split(string(line), "\x00")
		if len(args) > 1 && args[1] == words[0] && strings.Contains(string(line), words[1]) {
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			return string(status)
		}
	}

	return ""
}

// TestOtherContainerSeesNothing looks from one container of a pod for what kdiag
// has added for another.
func TestOtherContainerSeesNothing(t *testing.T) {
	namespace := kit.SharedPods(t)
	if got := kit.RunKdiag(t, "manage", "-n", namespace, "several", "-c", "one"); got.Code != 0 {
		t.Fatalf("manage: %v", got)
	}
	got := kit.RunKdiag(t, "shell", "-n", namespace, "-q", "several", "-c", "two", "--", "-c", "ps; ls /proc")
	if got.Code != 0 || !strings.Contains(got.Stdout, "--target=two") || strings.Contains(got.Stdout, "--target=one") {
		t.Errorf("shell in the other container: %v\nwant its own manager in sight, and not the other one", got)
	}
}

// TestExecIntoContainer gives whoever may exec in the pod, and does so in kdiag's
// container, the container's rights, under the runtime's filter.
func TestExecIntoContainer(t *testing.T) {
	namespace := kit.CreatePods(t, "hostile.yaml")
	id := kit.ReadContainerID(t, namespace, "hostile", "{.status.containerStatuses[0].containerID}")
	for profile, want := range map[string]string{"setns": "a82c25fb", "chroot": "a80c25fb", "baseline": "a80425fb", "restricted": "00000000"} {
		t.Run(profile, func(t *testing.T) {
			container := strings.TrimSpace(kit.RunKdiag(t, "manage", "-n", namespace, "--profile="+profile, "hostile").Stdout)
			status := kit.RunKubectl(t, "exec", "-n", namespace, "hostile", "-c", container, "--",
				"/kdiag", "enter", "--keep-capabilities", "--container-id="+id, "--", "-c", "cat /proc/self/status")
			if fields := strings.Fields(parseRights(status)); len(fields) != len(rightsFields) || fields[2] != want || fields[6] != "2" {
				t.Errorf("rights of an exec in %s = %q, want CapEff %s and a filter", container, fields, want)
			}
		})
	}

	t.Run("net", func(t *testing.T) {
		defer kit.StartKdiag(t, "redir", "-n", namespace, "hostile", "8080:1").Stop()
		container := waitForNetContainer(t, namespace)
		out, err := kit.TryKubectl(t.Context(), "", "exec", "-n", namespace, "hostile", "-c", container, "--",
			"/kdiag", "enter", "--container-id="+id, "--", "-c", "true")
		if err == nil || !strings.Contains(err.Error(), "no process found") {
			t.Errorf("enter from the net container: %q, %v, want no process of the target in sight", out, err)
		}
	})
}
