package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"kdiag/integration/kit"
)

// debugger is the module of dlv, a static program that attaches to others.
const debugger = "github.com/go-delve/delve/cmd/dlv@v1.27.2"

// installDebugger builds dlv and returns its path.
func installDebugger(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "install", "-ldflags=-s -w", debugger)
	// Outside of this module, whose go.mod does not have it.
	cmd.Dir = bin
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOBIN="+bin, "GOFLAGS=-mod=mod")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go install %s: %v: %s", debugger, err, out)
	}
	return filepath.Join(bin, "dlv")
}

// debuggedPod has a process that is not root's.
const debuggedPod = `
apiVersion: v1
kind: Pod
metadata: {name: app}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {runAsNonRoot: true, runAsUser: 1000, runAsGroup: 1000}
  containers:
  - {name: app, image: "localhost/kdiag-sample:scratch", imagePullPolicy: Never}
`

// attach has dlv look at the threads of the target's process, whose number is 1, and leave it as it
// is. dlv would write its history below HOME.
const attach = `printf 'threads\nexit\nn\n' | HOME=/proc dlv attach 1 --allow-non-terminal-interactive=true; echo; echo FILES; ls -A $KDIAG_ROOT/ | sort`

// TestShellWithDebugger attaches dlv, brought along in memory, to the target's process with every
// profile, as the guide says, and leaves nothing behind: no file, and the process as it was.
func TestShellWithDebugger(t *testing.T) {
	dlv := installDebugger(t)
	namespace := kit.CreateNamespace(t)
	kit.AddPods(t, namespace, debuggedPod)
	said := regexp.MustCompile(`note: dlv: [0-9.]+ MiB of the pod's memory, sha256 [0-9a-f]{64}\n`)
	for name, flags := range map[string][]string{
		"chroot":     {"--profile=chroot"},
		"setns":      {"--profile=setns", "--keep-capabilities"},
		"as target":  {"--profile=chroot", "--as-target"},
		"baseline":   {"--profile=baseline", "--as-target"},
		"restricted": {"--profile=restricted"},
	} {
		t.Run(name, func(t *testing.T) {
			process := kit.RunPs(t, "-n", namespace, "app").Processes[0]
			args := append([]string{"shell", "-n", namespace, "app", "--with", dlv}, flags...)
			got := kit.RunKdiag(t, append(args, "--", "-c", attach)...)
			if !strings.Contains(got.Stdout, "* Thread 1 at 0x") || !said.MatchString(got.Stderr) {
				t.Errorf("dlv attach: %v\nwant the threads, and a note on what was sent", got)
			}
			if _, files, _ := strings.Cut(got.Stdout, "FILES\n"); files != "app\ndata\ndev\netc\nproc\nsys\nvar\n" {
				t.Errorf("the target has %q, want its own files", files)
			}
			if now := kit.RunPs(t, "-n", namespace, "app").Processes[0]; now.Start != process.Start || now.State == "t" || now.State == "T" {
				t.Errorf("the target's process was %+v and is %+v, want it to go on", process, now)
			}
		})
	}
}

// TestShellWithProgram runs a program by its name on a terminal, and refuses what cannot run there
// before anything is sent.
func TestShellWithProgram(t *testing.T) {
	namespace := kit.SharedPods(t)
	x := kit.OpenTerminal(t)
	x.OpenShell("several/two:", "-n", namespace, "several", "-c", "two", "--with", kit.BinaryPath())
	x.TypeLine("kubectl-kdiag version | cut -d' ' -f1,3")
	x.WaitForText("kdiag linux/")

	small := kit.RunKdiag(t, "shell", "-n", namespace, "several", "--with", "/bin/sh")
	kit.ExpectFailure(2, "--with /bin/sh: it is dynamically linked", "only static programs run in every container").Verify(t, "a dynamic program", small)
}
