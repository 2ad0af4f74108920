package procfs

import (
	"os"
	"slices"
	"syscall"
	"testing"
	"time"
)

// TestOwn compares what is read about the test itself with what its own
// system calls tell.
func TestOwn(t *testing.T) {
	pid := os.Getpid()
	pids, err := ListPIDs()
	if err != nil || !slices.Contains(pids, pid) || !slices.Contains(pids, 1) {
		t.Errorf("ListPIDs = %v, %v, want 1 and %d among them", pids, err, pid)
	}

	stat, err := ReadStat(pid)
	if err != nil || stat.PID != pid || stat.Parent != os.Getppid() || stat.Group != syscall.Getpgrp() || stat.Dead() {
		t.Errorf("ReadStat = %+v, %v; parent is %d, group %d", stat, err, os.Getppid(), syscall.Getpgrp())
	}

	status, err := ReadStatus(pid)
	if err != nil || status.UIDs.Real != os.Getuid() || status.GIDs.Effective != os.Getegid() {
		t.Errorf("ReadStatus = %+v, %v; user is %d, group %d", status, err, os.Getuid(), os.Getegid())
	}
	if words, _, err := ReadCommandStart(pid, 1<<20); err != nil || !slices.Equal(words, os.Args) {
		t.Errorf("ReadCommandStart = %q, %v, want %q", words, err, os.Args)
	}
	if words, cut, err := ReadCommandStart(pid, 3); err != nil || !cut || !slices.Equal(words, []string{os.Args[0][:3]}) {
		t.Errorf("ReadCommandStart of 3 bytes = %q, %v, %v, want the beginning of %q", words, cut, err, os.Args[0])
	}
	if words, cut, err := ReadCommandStart(pid, 1<<20); err != nil || cut || !slices.Equal(words, os.Args) {
		t.Errorf("ReadCommandStart = %q, %v, %v, want %q", words, cut, err, os.Args)
	}
	if stat.Threads < 1 || stat.RSS == 0 {
		t.Errorf("ReadStat = %+v, want threads and pages", stat)
	}
	if boot, err := ReadBootTime(); err != nil || time.Since(boot) < 0 {
		t.Errorf("ReadBootTime = %v, %v", boot, err)
	}
	if env, _, err := ReadEnvironment(pid, 1<<20); err != nil || len(env) == 0 {
		t.Errorf("ReadEnvironment = %q, %v", env, err)
	}
	if groups, err := ReadCgroups(pid); err != nil || len(groups) == 0 {
		t.Errorf("ReadCgroups = %+v, %v", groups, err)
	}
	if limit, err := ReadRealtimeTimeout(pid); err != nil || limit == 0 {
		t.Errorf("ReadRealtimeTimeout = %d, %v", limit, err)
	}
	if _, err := ReadStat(1 << 30); !os.IsNotExist(err) {
		t.Errorf("ReadStat of no process = %v, want that it does not exist", err)
	}
}
