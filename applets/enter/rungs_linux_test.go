package enter_test

import (
	"os"
	"testing"

	"kdiag/applets/internal/runctest"
	scratchshell "kdiag/scratch-shell"
)

func TestMain(m *testing.M) {
	code := m.Run()
	runctest.Cleanup()
	os.Exit(code)
}

func busybox(t *testing.T) []byte {
	b, err := scratchshell.Binary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFirst(t *testing.T) {
	bin, err := os.ReadFile(runctest.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	target := runctest.Start(t, runctest.Spec{Files: map[string][]byte{"/app/busybox": busybox(t)}, Args: []string{"/app/busybox", "sleep", "100000"}, Caps: runctest.DefaultCaps, Cwd: "/app", Env: []string{"A=b"}})
	eph := runctest.Start(t, runctest.Spec{Files: map[string][]byte{"/kdiag": bin}, Args: []string{"/kdiag", "manager", "--role=shell"}, Caps: append(runctest.DefaultCaps, "SYS_ADMIN", "SYS_PTRACE"), PIDsOf: target, ReadOnly: true})
	for range 3 {
		cmd := eph.Exec("/kdiag", "enter", "--session=0123456789abcdef", "--container-id="+target.ID, "--", "-c", "ulimit -n; exit 7")
		out, err := cmd.CombinedOutput()
		t.Logf("%s %v", out, err)
	}
}
