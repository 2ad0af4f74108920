package inspect

import (
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"kdiag/applets/internal/pod/credentials"
	"kdiag/applets/internal/pod/procfs"
	"kdiag/mux/wire"
)

// TestLimits looks at the test itself, with less room than it needs.
func TestLimits(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}

	stat, err := procfs.ReadStat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}

	look := func(l limits) wire.Snapshot {
		t.Helper()
		own, err := credentials.ReadOwnStatus()
		if err != nil {
			t.Fatal(err)
		}
		got, err := newSnapshotBuilder(options{connected: true}, l, own).build([]procfs.Stat{stat, stat})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}

	whole := look(defaultLimits)
	if len(whole.Cut) > 0 || len(whole.Sockets) < 6 || !slices.Equal(whole.Processes[0].Command, os.Args) || whole.Processes[0].CommandCut {
		t.Errorf("snapshot = %+v, want all of it", whole)
	}

	small := defaultLimits
	small.command = 5
	if got := look(small); got.Processes[0].Command[0] != os.Args[0][:5] || !got.Processes[0].CommandCut || len(got.Cut) > 0 {
		t.Errorf("snapshot = %+v, want 5 bytes of the command line", got)
	}

	small = defaultLimits
	small.commands = 5
	if got := look(small); len(got.Processes[1].Command) > 0 || !countsCut(got, "command lines beyond 5 bytes") {
		t.Errorf("snapshot = %+v, want no second command line", got)
	}

	small = defaultLimits
	small.descriptors = 2
	if got := look(small); len(got.Sockets) > 2 || !countsCut(got, "more than 2 descriptors") {
		t.Errorf("snapshot = %+v, want 2 sockets at most", got)
	}

	small = defaultLimits
	small.sockets = 1
	if got := look(small); len(got.Sockets) != 2 || !countsCut(got, "more than 1 listening") || !countsCut(got, "more than 1 connected") {
		t.Errorf("snapshot = %+v, want one socket of each kind", got)
	}
}

// countsCut reports whether a snapshot says exactly once that something was left out.
func countsCut(s wire.Snapshot, text string) bool {
	count := 0
	for _, said := range s.Cut {
		if strings.HasPrefix(said, text) {
			count++
		}
	}
	return count == 1
}
