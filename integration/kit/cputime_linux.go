package kit

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

// clockTick is the unit of the times in /proc/PID/stat: USER_HZ, which is 100 on
// every platform that kdiag has tests for.
const clockTick = 10 * time.Millisecond

// ReadCPUTime reads how long a process has had a processor, in its own code and in
// the kernel (proc_pid_stat(5)).
func ReadCPUTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}

	// The second field is the program's name, which may hold spaces and brackets.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	user, userErr := strconv.Atoi(string(fields[11]))
	kernel, kernelErr := strconv.Atoi(string(fields[12]))
	if userErr != nil || kernelErr != nil {
		t.Fatalf("/proc/%d/stat: %q", pid, stat)
	}

	return time.Duration(user+kernel) * clockTick
}
