package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kdiag/integration/kit"
)

// TestCaptureShown captures several pods into one file, and from Wireshark's own window.
func TestCaptureShown(t *testing.T) {
	namespace, app, other := kit.CreateRedirPods(t)
	kit.RunKubectl(t, "label", "pod", "-n", namespace, "app", "other", "captured=yes")
	t.Run("several pods", func(t *testing.T) { captureSeveral(t, namespace, app, other) })
	t.Run("rights", func(t *testing.T) { captureWithoutNames(t, namespace, app) })
	t.Run("extcap", func(t *testing.T) { captureFromWindow(t, namespace, app) })
}

// captureSeveral captures two pods, one of which goes meanwhile, with names and processes.
func captureSeveral(t *testing.T, namespace, app, other string) {
	file := filepath.Join(t.TempDir(), "both.pcapng")
	kdiag := kit.StartKdiag(t, "capture", "-n", namespace, "-l", "captured=yes", "--all", "--processes", "-w", file, "tcp port 7000 or tcp port 8080")
	for _, pod := range []string{"app", "other"} {
		waitForStderr(t, kdiag, "capturing from lo, eth0 of pod "+namespace+"/"+pod)
	}

	// A client in the pod is found by its socket, while its connection is open.
	client := kit.StartKubectl(t, "exec", "-i", "-n", namespace, "app", "--", "busybox", "nc", other, "7000")
	kit.WaitUntil(t, "the client of the connection", func() bool {
		client.WriteStdin("hello\n")
		kit.VerifyAnswer(t, nodeNetwork, app+":8080", "sample app on app")
		comments := readRows(t, file, `tcp.dstport==7000 && frame.interface_name=="app/eth0"`, "frame.comment")
		return strings.Contains(strings.Join(comments, "\n"), "pod "+namespace+"/app, container app, process busybox (PID ")
	})

	kit.RunKubectl(t, "delete", "pod", "-n", namespace, "other", "--wait=false")
	waitForStderr(t, kdiag, "its capture has ended")
	kit.VerifyAnswer(t, nodeNetwork, app+":8080", "sample app on app")
	got := kdiag.Interrupt()
	if got.Code != 0 || !strings.Contains(got.Stderr, "note: pod other ") {
		t.Errorf("kdiag: %v, want that pod other has gone, and no failure", got)
	}

	verifyRow(t, file, "tcp.dstport==7000 && frame.interface_name==\"app/eth0\"",
		[]string{"frame.packet_flags_direction", "ip.src_host", "ip.dst_host"}, "0x00000002|app."+namespace+"|other."+namespace)
	verifyRow(t, file, "tcp.dstport==7000 && frame.interface_name==\"other/eth0\"",
		[]string{"frame.packet_flags_direction", "frame.comment"}, "0x00000001|pod "+namespace+"/other, container app, process app (PID 1)")
	verifyRow(t, file, "tcp.dstport==8080 && frame.interface_name==\"app/eth0\"",
		[]string{"ip.dst_host", "frame.comment"}, "app."+namespace+"|pod "+namespace+"/app, container app, process app (PID 1)")
}

// readRows lets tshark read fields of the packets that a filter shows, with the file's names.
func readRows(t *testing.T, file, filter string, fields ...string) []string {
	t.Helper()
	args := []string{"-r", file, "-N", "n", "-Y", filter, "-T", "fields", "-E", "separator=|"}
	for _, field := range fields {
		args = append(args, "-e", field)
	}
	out, _ := exec.CommandContext(t.Context(), "tshark", args...).Output() // the file may end within a packet

	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// verifyRow checks that tshark shows a row of fields.
func verifyRow(t *testing.T, file, filter string, fields []string, want string) {
	t.Helper()
	rows := readRows(t, file, filter, fields...)
	for _, row := range rows {
		if row == want {
			return
		}
	}
	t.Errorf("tshark shows for %s %q, want %q", filter, rows, want)
}

// captureWithoutNames captures for a user who may list nothing: the file has the pod's own name, and
// nothing is said.
func captureWithoutNames(t *testing.T, namespace, app string) {
	user := namespace + "-capturer"
	kit.RunKubectl(t, "create", "role", "-n", namespace, "capturer", "--verb=get,create,patch", "--resource=pods,pods/ephemeralcontainers,pods/exec")
	kit.RunKubectl(t, "create", "rolebinding", "-n", namespace, "capturer", "--role=capturer", "--user="+user)

	file := filepath.Join(t.TempDir(), "one.pcapng")
	kdiag := kit.StartKdiag(t, "capture", "-n", namespace, "app", "--as="+user, "-w", file, "tcp port 8080")
	waitForStderr(t, kdiag, "capturing from")
	kit.VerifyAnswer(t, nodeNetwork, app+":8080", "sample app on app")
	if got := kdiag.Interrupt(); got.Code != 0 || strings.Contains(got.Stderr, "list") {
		t.Errorf("kdiag: %v, want no word of names", got)
	}
	verifyRow(t, file, "tcp.dstport==8080 && tcp.flags.syn==1", []string{"ip.dst_host"}, "app."+namespace)
}

// captureFromWindow has tshark find the interface in the extcap folder, and capture from it.
func captureFromWindow(t *testing.T, namespace, app string) {
	home := t.TempDir()
	environment := append(kit.Environment(), "HOME="+home, "XDG_CONFIG_HOME="+filepath.Join(home, ".config"))
	run := func(name string, args ...string) *exec.Cmd {
		command := exec.CommandContext(t.Context(), name, args...)
		command.Env = environment
		return command
	}

	if out, err := run(kit.BinaryPath(), "extcap", "install").CombinedOutput(); err != nil {
		t.Fatalf("extcap install: %v: %s", err, out)
	}
	if out, err := run("tshark", "-D").Output(); err != nil || !strings.Contains(string(out), "kdiag (Kubernetes pod)") {
		t.Errorf("tshark -D = %s, %v, want the interface", out, err)
	}

	asked, err := run(filepath.Join(home, ".config/wireshark/extcap/kdiag"), "--extcap-interface", "kdiag", "--extcap-config", "--extcap-reload-option", "pod", "--namespace", namespace).Output()
	if err != nil || !strings.Contains(string(asked), "{value=app}{display=app}") {
		t.Errorf("the window offers %s, %v, want the pods of %s", asked, err, namespace)
	}

	tshark := run("tshark", "-i", "kdiag", "-f", "tcp port 8080", "-o", "extcap.kdiag.namespace:"+namespace, "-o", "extcap.kdiag.pod:app",
		"-c", "3", "-l", "-T", "fields", "-e", "frame.interface_name", "-e", "tcp.flags.str")
	stdout, stderr := &kit.Output{}, &kit.Output{}
	tshark.Stdout, tshark.Stderr = stdout, stderr
	if err := tshark.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- tshark.Wait() }()

	for done := false; !done; {
		select {
		case err := <-ended:
			if done = true; err != nil {
				t.Errorf("tshark: %v: %s", err, stderr)
			}
		default:
			kit.VerifyAnswer(t, nodeNetwork, app+":8080", "sample app on app")
		}
	}
	if got := stdout.String(); strings.Count(got, "app/eth0\t") != 3 || strings.Contains(stderr.String(), "Error") {
		t.Errorf("tshark shows %q, and says %s", got, stderr)
	}

	wrong := run("tshark", "-i", "kdiag", "-a", "duration:10", "-o", "extcap.kdiag.namespace:"+namespace, "-o", "extcap.kdiag.pod:missing")
	if out, _ := wrong.CombinedOutput(); !strings.Contains(string(out), `pods "missing" not found`) {
		t.Errorf("tshark on a missing pod: %s", out)
	}
	_ = os.RemoveAll(home)
}
