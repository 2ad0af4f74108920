// Package procfs reads what /proc tells about processes (proc(5)), as the reading process sees it:
// PIDs in the PID namespace that /proc was mounted for, cgroups relative to the reader's cgroup
// namespace.
package procfs

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// FilePath returns the path of a file of a process's, as in FilePath(1, "root").
func FilePath(pid int, name string) string {
	return "/proc/" + strconv.Itoa(pid) + "/" + name
}

// ListPIDs returns the PIDs of all processes, in no order.
func ListPIDs() ([]int, error) { return listNumbers("/proc") }

// listNumbers returns the names in a directory that are numbers, in no order.
func listNumbers(path string) ([]int, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()

	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}

	pids := make([]int, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}

	return pids, nil
}

// ReadStat reads /proc/PID/stat. Of a process whose first thread has ended, but not all of them, it
// tells the state and the size that another thread has.
func ReadStat(pid int) (Stat, error) {
	stat, err := readProcessFile(pid, "stat", ParseStat)
	stat.Thread = stat.PID
	if err == nil && stat.Dead() && stat.Threads > 1 {
		stat.readLivingThread()
	}
	return stat, err
}

// readLivingThread finds a thread that has not ended, and takes from it what the first one has lost.
func (s *Stat) readLivingThread() {
	threads, err := listNumbers(FilePath(s.PID, "task"))
	if err != nil {
		return
	}

	slices.Sort(threads)
	for _, thread := range threads {
		one, err := readProcessFile(s.PID, "task/"+strconv.Itoa(thread)+"/stat", ParseStat)
		if err == nil && !one.Dead() {
			s.State, s.RSS, s.Thread = one.State, one.RSS, thread
			return
		}
	}
}

// ReadStatus reads /proc/PID/status.
func ReadStatus(pid int) (Status, error) { return readProcessFile(pid, "status", ParseStatus) }

// ReadCgroups reads /proc/PID/cgroup. Cgroup v1 shows the root for a thread that has ended
// (kernel/cgroup/cgroup-v1.c), so another thread tells of a process whose first one has.
func ReadCgroups(pid int) (Cgroups, error) {
	cgroups, err := readProcessFile(pid, "cgroup", ParseCgroups)
	if err != nil || !cgroups.anyV1AtRoot() {
		return cgroups, err
	}

	if stat, statErr := ReadStat(pid); statErr == nil && stat.Thread != pid {
		return readProcessFile(stat.Thread, "cgroup", ParseCgroups)
	}
	return cgroups, nil
}

// ReadRealtimeTimeout reads the soft RLIMIT_RTTIME from /proc/PID/limits.
func ReadRealtimeTimeout(pid int) (uint64, error) {
	return readProcessFile(pid, "limits", ParseRealtimeTimeout)
}

// ReadCommandStart reads up to limit bytes of /proc/PID/cmdline, and reports whether there are
// more: a process may have megabytes of arguments. A zombie and a thread of the kernel have none.
func ReadCommandStart(pid, limit int) (words []string, cut bool, err error) {
	return readStrings(pid, "cmdline", limit)
}

// readStrings reads up to limit bytes of a file of strings, and reports whether there are more.
func readStrings(pid int, name string, limit int) (words []string, cut bool, err error) {
	file, err := os.Open(FilePath(pid, name))
	if err != nil {
		return nil, false, err
	}
	defer file.Close()

	content, err := io.ReadAll(io.LimitReader(file, int64(limit)+1))
	if err != nil {
		return nil, false, err
	}

	cut = len(content) > limit
	words, err = ParseStrings(content[:min(len(content), limit)])
	return words, cut, err
}

// readProcessFile reads a file of a process's and parses it.
func readProcessFile[T any](pid int, name string, parse func([]byte) (T, error)) (T, error) {
	path := FilePath(pid, name)
	content, err := os.ReadFile(path)
	if err != nil {
		var none T
		return none, err
	}

	value, err := parse(content)
	if err != nil {
		return value, fmt.Errorf("%s: %w", path, err)
	}

	return value, nil
}

// ReadSecurityLabel reads the AppArmor profile or the SELinux context that confines a process from
// /proc/PID/attr/current, which everybody may read. It is empty if the kernel has neither.
func ReadSecurityLabel(pid int) string {
	const limit = 4096
	label, _, err := readStrings(pid, "attr/current", limit)
	if err != nil || len(label) == 0 {
		return ""
	}

	return strings.TrimSpace(label[0])
}

// ParseStrings splits the content of /proc/PID/cmdline or environ, strings that a NUL ends. It
// never fails. The last NUL may be missing, since a process can write over that memory.
func ParseStrings(content []byte) ([]string, error) {
	content = bytes.TrimSuffix(content, []byte{0})
	if len(content) == 0 {
		return nil, nil
	}

	parts := bytes.Split(content, []byte{0})
	out := make([]string, len(parts))
	for i, part := range parts {
		out[i] = string(part)
	}

	return out, nil
}

// ReadEnvironment reads up to limit bytes of /proc/PID/environ, and reports whether there are more:
// the variables that the process was started with, as far as it has not written over that memory.
// It needs the right to trace the process.
func ReadEnvironment(pid, limit int) (variables []string, cut bool, err error) {
	return readStrings(pid, "environ", limit)
}
