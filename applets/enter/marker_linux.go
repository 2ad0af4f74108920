package enter

import (
	"fmt"
	"hash/fnv"
	"os"

	"golang.org/x/sys/unix"
)

// A session's leader is known by its arguments only until it executes another program, which ash
// does for the last command of "-c", and users by "exec". Resource limits stay, and everybody can
// read them in /proc/PID/limits. So the leader is marked by a soft RLIMIT_RTTIME, in microseconds:
// 146,000 years or more of processor time, and only for real-time scheduling (getrlimit(2)).
// Children inherit it; the leader's PID in it tells the leader from them.

// leaderMark returns the limit that marks the leader of a session, from 1<<62 up to 1<<63.
func leaderMark(session string, pid int) uint64 {
	sum := fnv.New64a()
	fmt.Fprintf(sum, "%s/%d", session, pid)
	return 1<<62 | sum.Sum64()>>2
}

// markLeader marks the calling process as the leader of a session.
func markLeader(session string) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_RTTIME, &limit); err != nil {
		return fmt.Errorf("mark the session: %w", err)
	}

	limit.Cur = leaderMark(session, os.Getpid())
	if limit.Max < limit.Cur {
		return nil // the runtime has set a limit of its own, which stays
	}

	if err := unix.Setrlimit(unix.RLIMIT_RTTIME, &limit); err != nil {
		return fmt.Errorf("mark the session: %w", err)
	}

	return nil
}
