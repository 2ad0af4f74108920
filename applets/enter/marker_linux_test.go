package enter

import (
	"os"
	"testing"

	"kdiag/applets/internal/pod/procfs"
)

func TestLeaderMark(t *testing.T) {
	seen := map[uint64]bool{procfs.Unlimited: true}
	for _, session := range []string{"00000000", "00000001", "0123456789abcdef"} {
		for _, pid := range []int{1, 2, 4194304} {
			m := leaderMark(session, pid)
			if seen[m] || m < 1<<62 || m >= 1<<63 {
				t.Errorf("leaderMark(%s, %d) = %d, want one of its own from 1<<62 up to 1<<63", session, pid, m)
			}
			seen[m] = true
		}
	}
}

// TestMarkLeader marks the test itself, which does no harm.
func TestMarkLeader(t *testing.T) {
	const session = "0123456789abcdef"
	if err := markLeader(session); err != nil {
		t.Fatal(err)
	}
	got, err := procfs.ReadRealtimeTimeout(os.Getpid())
	if want := leaderMark(session, os.Getpid()); err != nil || got != want {
		t.Errorf("limit after markLeader = %d, %v, want %d", got, err, want)
	}
}
