package kit

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A PodCgroup is the directory of a pod's memory cgroup on the node, which is this machine.
type PodCgroup string

// FindPodCgroup finds the memory cgroup of a pod, by its first container.
func FindPodCgroup(t *testing.T, namespace, pod string) PodCgroup {
	t.Helper()
	pid := FindContainerProcess(t, namespace, pod, "{.status.containerStatuses[0].containerID}")
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}

	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case fields[1] == "memory":
			return PodCgroup(filepath.Dir("/sys/fs/cgroup/memory" + fields[2]))
		case fields[0] == "0" && fields[1] == "" && fields[2] != "/":
			return PodCgroup(filepath.Dir("/sys/fs/cgroup" + fields[2]))
		}
	}

	t.Fatalf("no memory cgroup of pod %s in %q", pod, text)
	return ""
}

// ReadLimit reads the pod's limit, in bytes.
func (c PodCgroup) ReadLimit(t *testing.T) int64 {
	t.Helper()
	return c.readNumber(t, "memory.limit_in_bytes", "memory.max")
}

// ReadUsage reads what the pod uses, in bytes.
func (c PodCgroup) ReadUsage(t *testing.T) int64 {
	t.Helper()
	return c.readNumber(t, "memory.usage_in_bytes", "memory.current")
}

// ReadPeak reads the most that the pod has used since the last ResetPeak, in bytes.
func (c PodCgroup) ReadPeak(t *testing.T) int64 {
	t.Helper()
	return c.readNumber(t, "memory.max_usage_in_bytes", "memory.peak")
}

// ResetPeak makes ReadPeak begin anew, where the kernel can (cgroup v1).
func (c PodCgroup) ResetPeak(t *testing.T) {
	t.Helper()
	_ = os.WriteFile(filepath.Join(string(c), "memory.max_usage_in_bytes"), []byte("0"), 0o600)
}

// CountKills counts the processes of the pod that were killed for want of memory, in its containers'
// cgroups too.
func (c PodCgroup) CountKills(t *testing.T) (count int) {
	t.Helper()
	for _, pattern := range []string{"memory.oom_control", "*/memory.oom_control", "memory.events.local", "*/memory.events.local"} {
		files, _ := filepath.Glob(filepath.Join(string(c), pattern))
		for _, file := range files {
			text, _ := os.ReadFile(file)
			for line := range strings.Lines(string(text)) {
				if value, ok := strings.CutPrefix(line, "oom_kill "); ok {
					kills, _ := strconv.Atoi(strings.TrimSpace(value))
					count += kills
				}
			}
		}
	}
	return count
}

// readNumber reads the first of several files that there is.
func (c PodCgroup) readNumber(t *testing.T, files ...string) int64 {
	t.Helper()
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(string(c), file))
		if err != nil {
			continue
		}
		number, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return number
	}

	t.Fatalf("none of %q in %s", files, c)
	return 0
}
