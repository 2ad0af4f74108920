package manager_test

import (
	"crypto/tls"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"kdiag/applets/internal/pod/procfs"
	"kdiag/applets/internal/testkit/runctest"
	"kdiag/mux"
	"kdiag/mux/wire"

	"github.com/hashicorp/yamux"
)

// countDescriptors counts the files that a process has open.
func countDescriptors(t *testing.T, pid int) int {
	t.Helper()
	files, err := os.ReadDir(procfs.FilePath(pid, "fd"))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// cpuTime returns the processor time that a process has taken.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	stat, err := procfs.ReadStat(pid)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(stat.CPU) * time.Second / procfs.TicksPerSecond
}

// TestStrangersCostLittle has strangers of every kind, and looks at what the manager holds while
// they come and afterwards.
func TestStrangersCostLittle(t *testing.T) {
	const (
		most      = 10 << 10 // KiB of anonymous memory, under them
		after     = 5 << 10  // and after them
		mostFiles = 512 + 64 + 4 + 64
	)

	for _, flood := range []string{"each", "silent"} {
		t.Run(flood, func(t *testing.T) {
			b := newPodWithManager(t)
			if err := b.openAndCloseSession(t.Context()); err != nil {
				t.Fatal(err)
			}

			atRest := 0
			if !runctest.WaitUntil(func() bool { atRest = anonymousMemory(t, b.pid); return atRest <= after }) {
				t.Fatalf("anonymous memory at rest = %d KiB, want %d at most", atRest, after)
			}

			kinds := b.kindsOfStrangers(t)
			if flood == "silent" {
				kinds = kinds[:1]
			}

			used, began := cpuTime(t, b.pid), time.Now()
			stop := b.flood(t, kinds...)
			highest, files := 0, 0
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for range 400 {
				highest = max(highest, anonymousMemory(t, b.pid))
				files = max(files, countDescriptors(t, b.pid))
				<-tick.C
			}

			took := time.Since(began)
			used = cpuTime(t, b.pid) - used
			many := stop()

			left := 0
			small := runctest.WaitUntil(func() bool {
				left = anonymousMemory(t, b.pid)
				return left <= after && countDescriptors(t, b.pid) < 64
			})
			t.Logf("%d strangers in %s: anonymous memory %d KiB before, %d KiB at most, %d KiB after; %d files at most; %s of CPU, %.1f %% of one",
				many, took.Round(time.Millisecond), atRest, highest, left, files, used, 100*used.Seconds()/took.Seconds())
			if highest > most || files > mostFiles {
				t.Errorf("under strangers: %d KiB and %d files, want %d KiB and %d files at most", highest, files, most, mostFiles)
			}
			if !small {
				t.Errorf("after strangers: %d KiB and %d files, want %d KiB at most and no more files than before", left, countDescriptors(t, b.pid), after)
			}
		})
	}
}

// TestUserGetsInWhenFilesRunOut has redirected connections take the files that the manager may
// open.
func TestUserGetsInWhenFilesRunOut(t *testing.T) {
	b := newPodWithManager(t, "/bin/sh", "-c", `ulimit -n 512; exec "$0" "$@"`)
	session, err := b.openSession(t.Context(), b.dialFar)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()

	if err := session.Call(t.Context(), wire.RequestAttach, wire.Attach{ID: 1, Port: 7000}, nil); err != nil {
		t.Fatal(err)
	}

	refused := 0
	for range 700 {
		conn, err := b.dial(7000)
		if err != nil {
			refused++
			continue
		}
		defer conn.Close()
	}

	// At three quarters of the connections' share, new ones go past the manager.
	full := runctest.WaitUntil(func() bool { return countDescriptors(t, b.pid) > 280 })
	t.Logf("%d files are open of 512, %d of 700 connections were refused", countDescriptors(t, b.pid), refused)
	if !full {
		t.Errorf("%d files are open, want the manager near its limit", countDescriptors(t, b.pid))
	}

	b.flood(t, b.kindsOfStrangers(t)...)
	for i := range 3 {
		if err := b.openAndCloseSession(t.Context()); err != nil {
			t.Errorf("try %d: %v", i, err)
		}
	}
}

// TestUsersSessionsAreBounded tells the user that a session is one too many.
func TestUsersSessionsAreBounded(t *testing.T) {
	const most = 32
	b := newPodWithManager(t)
	for i := range most {
		session, err := b.openSession(t.Context(), b.dialNear)
		if err != nil {
			t.Fatalf("session %d: %v", i, err)
		}
		defer session.Close()
	}

	t.Logf("%d sessions: %d KiB of anonymous memory", most, anonymousMemory(t, b.pid))

	_, err := b.openSession(t.Context(), b.dialNear)
	var refused *mux.RemoteError
	if !errors.As(err, &refused) || refused.Hint == "" {
		t.Errorf("session %d: %v, want a refusal with a hint", most, err)
	}
}

// TestOlderLaptopLearnsVersion does what a laptop of version 1 does, which knows of no challenge:
// it gets as far as the preface, and finds another version there.
func TestOlderLaptopLearnsVersion(t *testing.T) {
	b := newPodWithManager(t)
	conn, err := b.dial(b.started.OlderPort)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	config, err := mux.ClientTLS(b.user, b.started.Key)
	if err != nil {
		t.Fatal(err)
	}

	yamuxConfig := yamux.DefaultConfig()
	yamuxConfig.LogOutput = io.Discard
	session, err := yamux.Client(tls.Client(conn, config), yamuxConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()

	control, err := session.Open()
	if err != nil {
		t.Fatal(err)
	}

	_, _ = io.WriteString(control, "kdiag\x00\x00\x01")
	got := make([]byte, 8)
	if _, err := io.ReadFull(control, got); err != nil || string(got) != "kdiag\x00\x00\x02" {
		t.Errorf("preface = %q, %v, want version 2", got, err)
	}
}
