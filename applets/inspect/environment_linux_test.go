package inspect_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"kdiag/applets/internal/testkit/runctest"
	"kdiag/mux/wire"
)

// TestEnvironment reads the environment of the target's first process from every rung that may, byte
// for byte, and says why not from one that may not.
func TestEnvironment(t *testing.T) {
	root, user := runctest.ContainerSpec{Caps: runctest.DefaultCaps}, runctest.ContainerSpec{UID: 1000, GID: 2000, Owner: 1000}
	for name, c := range map[string]struct {
		target, eph runctest.ContainerSpec
		denied      string
	}{
		"setns":                {root, runctest.ContainerSpec{Caps: setnsCaps}, ""},
		"setns, other user":    {user, runctest.ContainerSpec{Caps: setnsCaps}, ""},
		"baseline":             {root, runctest.ContainerSpec{Caps: runctest.DefaultCaps}, ""},
		"baseline, other user": {user, runctest.ContainerSpec{Caps: runctest.DefaultCaps}, ""},
		"restricted":           {user, runctest.ContainerSpec{UID: 1000, GID: 2000, NoNewPrivileges: true}, ""},
		"restricted, not its user": {root, runctest.ContainerSpec{UID: 65532, GID: 65532, NoNewPrivileges: true},
			"permission denied: the target runs as user 0"},
	} {
		t.Run(name, func(t *testing.T) {
			runctest.RequireRunc(t)
			c.target.Env = []string{"COLOUR=blue\nred", "EMPTY="}
			c.target.Args = []string{"/app/busybox-server", "ash", "-c", `env -i CHILD=1 /app/busybox-server sleep 100000 & exec env RAW=$(printf '\377') /app/busybox-server sleep 100001`}
			target := startTarget(t, c.target)
			c.eph.PIDsOf = target
			eph := startEphemeral(t, c.eph)
			if !runctest.WaitUntil(func() bool {
				line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", target.PID))
				return err == nil && bytes.Contains(line, []byte("100001"))
			}) {
				t.Fatal("the target does not sleep")
			}

			cmd := eph.ExecCommand("/kdiag", "inspect", "--container-id="+target.ID, "--environment")
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if c.denied != "" {
				if err == nil || len(out) > 0 || !strings.Contains(stderr.String(), c.denied) {
					t.Errorf("inspect: %v, stdout %q, stderr %q, want %q", err, out, &stderr, c.denied)
				}
				return
			}

			got, parseErr := wire.ParseEnvironment(out)
			text := string(bytes.Join(got.Entries, []byte{0})) + "\x00"
			if err != nil || parseErr != nil || got.PID != 1 || !strings.Contains(text, "COLOUR=blue\nred\x00") || !strings.Contains(text, "RAW=\xff\x00") || !strings.Contains(text, "EMPTY=\x00") ||
				strings.Contains(text, "CHILD") {
				t.Errorf("inspect --environment: %v, %v, %+v: %q, stderr %q, want the first process's", err, parseErr, got, text, &stderr)
			}
		})
	}
}
