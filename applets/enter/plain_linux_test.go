package enter_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kdiag/applets/internal/pod/procfs"
	"kdiag/applets/internal/testkit/runctest"
)

// TestToolsShowNamesPlainly has a target whose process and file names are escape sequences.
func TestToolsShowNamesPlainly(t *testing.T) {
	const hostile = "/app/busybox-\x1b[2J"
	p := startPod(t, runctest.ContainerSpec{
		Caps: runctest.DefaultCaps, Files: map[string][]byte{hostile: targetProgram(t)},
		Args: []string{hostile, "nc", "-l", "-p", "8099"},
	}, runctest.ContainerSpec{Caps: chrootCaps})
	for _, tool := range []string{"ps", "ps -o comm,args", "top -b -n 1", "netstat -ltnp"} {
		got := p.runScript(tool)
		if got.code != 0 || !strings.Contains(got.stdout, "[2J") || strings.Contains(got.stdout, "\x1b[2J") {
			t.Errorf("%s = %q, %q, want the name without its escape character", tool, got.stdout, got.stderr)
		}
	}
}

// TestMarkOfUseIsAFile has something else in the place of the file by which a session makes itself
// known to the manager, as whoever may exec in kdiag's container can put there.
func TestMarkOfUseIsAFile(t *testing.T) {
	cases := map[string]func(mark, elsewhere string) error{
		"a link": func(mark, elsewhere string) error { return os.Symlink(elsewhere, mark) },
		"a pipe": func(mark, _ string) error { return syscall.Mkfifo(mark, 0o600) },
	}

	for name, put := range cases {
		t.Run(name, func(t *testing.T) {
			p := startPod(t, runctest.ContainerSpec{Caps: runctest.DefaultCaps}, runctest.ContainerSpec{Caps: chrootCaps})
			dev := procfs.FilePath(p.eph.PID, "root/dev")
			if err := put(filepath.Join(dev, "kdiag-used"), "/dev/elsewhere"); err != nil {
				t.Fatal(err)
			}
			if got := p.runScript("exit 7"); got.code != 7 {
				t.Errorf("shell: %+v, want code 7", got)
			}
			if _, err := os.Lstat(filepath.Join(dev, "elsewhere")); err == nil {
				t.Error("a link was followed: what it leads to was made")
			}
		})
	}
}
