package inspect_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"kdiag/applets/internal/testkit/runctest"
	"kdiag/mux/wire"
)

func init() { runctest.BecomeLeaderless() }

// TestLeaderHasEnded looks at a process whose first thread has ended: it lives, and has its sockets.
func TestLeaderHasEnded(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	target := runctest.StartContainer(t, runctest.ContainerSpec{
		Files: map[string][]byte{"/program": program}, Args: []string{"/program", runctest.LeaderlessArgument},
	})
	eph := startEphemeral(t, runctest.ContainerSpec{Caps: append([]string{"SYS_PTRACE"}, runctest.DefaultCaps...), PIDsOf: target})
	runctest.EndFirstThread(t, target)

	var shown wire.Snapshot
	listens := func() bool {
		shown = inspect(t, eph, target)
		return slices.ContainsFunc(shown.Sockets, func(s wire.Socket) bool { return strings.HasSuffix(s.Local, ":7070") && slices.Contains(s.PIDs, 1) })
	}
	if !runctest.WaitUntil(listens) {
		t.Fatalf("snapshot = %+v, want the socket of process 1", shown)
	}
	if p := shown.Processes[0]; p.State == "Z" || p.RSS == 0 || !slices.Equal(p.Command, []string{"/program", runctest.LeaderlessArgument}) {
		t.Errorf("process = %+v, want one that lives", p)
	}
}
