package integration

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"kdiag/integration/kit"
	"kdiag/integration/seccomptest"

	"golang.org/x/sys/unix"
)

// TestAsTargetIsConfinedAsTheTarget compares the seccomp filters of the application
// and of a shell --as-target, as the kernel has them: what they make of every system
// call, with the arguments that runtimes' profiles look at.
func TestAsTargetIsConfinedAsTheTarget(t *testing.T) {
	kit.RequireOwnCluster(t, "the processes of a pod")
	namespace := kit.CreatePods(t, "hostile.yaml")
	application := readFilters(t, kit.FindContainerProcess(t, namespace, "hostile", "{.status.containerStatuses[0].containerID}"))
	if len(application) == 0 {
		t.Fatal("the application has no filter")
	}

	samples := listSampleCalls(t)
	for i, profile := range []string{"setns", "chroot", "baseline"} {
		mark := "98765" + string(rune('0'+i))
		command := kit.StartKdiag(t, "shell", "-n", namespace, "--profile="+profile, "-q", "hostile", "--as-target", "--", "-c", "exec sleep "+mark)
		var pid int
		kit.WaitUntil(t, "the shell of profile "+profile, func() bool { pid = findProcessByWords("sleep", mark); return pid != 0 })
		shell := readFilters(t, pid)
		command.Stop()

		if len(shell) == 0 {
			t.Errorf("profile %s: the shell has no filter", profile)
		}

		for _, call := range samples {
			theirs, ours := application.answer(t, call), shell.answer(t, call)
			if theirs != unix.SECCOMP_RET_ALLOW && ours == unix.SECCOMP_RET_ALLOW {
				t.Fatalf("profile %s: call %d of %#x with %#x is allowed, and %#x for the application", profile, call.Number, call.Arch, call.Argument, theirs)
			}
		}
	}
}

// findProcessByWords returns the id of the process on this machine that has exactly
// these words as its command line, or 0.
func findProcessByWords(words ...string) int {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range lines {
		text, _ := os.ReadFile(file)
		if strings.TrimRight(string(text), "\x00") == strings.Join(words, "\x00") {
			pid, _ := strconv.Atoi(strings.Split(file, "/")[2])
			return pid
		}
	}

	return 0
}

// callsCheckedAnyway names the calls that runtimes allow to a container with SYS_PTRACE
// or SYS_CHROOT. The kernel checks each of them against the caller's own rights, which
// are the application's.
var callsCheckedAnyway = []string{
	"chroot", "kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace",
}

// listSampleCalls returns all calls of both architectures of the machine, except those
// that are checked anyway, with the first arguments that profiles tell apart: clone's
// flags, address families, personalities.
func listSampleCalls(t *testing.T) []seccomptest.Call {
	t.Helper()
	arguments := []uint64{0, 0x8, 0x20000, 0x20008, 0xffffffff, 0x40000, 17}
	for bit := range 32 {
		arguments = append(arguments, 1<<bit)
	}

	for family := range uint64(48) {
		arguments = append(arguments, family)
	}

	architectures := map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "386": unix.AUDIT_ARCH_I386}
	if runtime.GOARCH == "arm64" {
		architectures = map[string]uint32{"arm64": unix.AUDIT_ARCH_AARCH64, "arm": unix.AUDIT_ARCH_ARM}
	}

	var calls []seccomptest.Call
	for goarch, arch := range architectures {
		var checkedAnyway []uint32
		numbers := seccomptest.Numbers(t, goarch)
		for _, name := range callsCheckedAnyway {
			checkedAnyway = append(checkedAnyway, numbers[name])
		}

		for number := range uint32(480) {
			if slices.Contains(checkedAnyway, number) {
				continue
			}
			for _, argument := range arguments {
				calls = append(calls, seccomptest.Call{Arch: arch, Number: number, Argument: argument})
			}
		}
	}

	return calls
}

// seccompFilters holds the seccomp filters of a process.
type seccompFilters [][]unix.SockFilter

// answer returns the strictest answer of all filters: the least, as a signed number
// without its data (seccomp(2)).
func (f seccompFilters) answer(t *testing.T, c seccomptest.Call) uint32 {
	t.Helper()
	strictest := uint32(unix.SECCOMP_RET_ALLOW)
	for _, program := range f {
		if got := seccomptest.Evaluate(t, program, c) & unix.SECCOMP_RET_ACTION_FULL; int32(got) < int32(strictest) {
			strictest = got
		}
	}
	return strictest
}

// readFilters reads the filters of a process from the kernel (ptrace(2),
// PTRACE_SECCOMP_GET_FILTER).
func readFilters(t *testing.T, pid int) seccompFilters {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PtraceAttach(pid); err != nil {
		t.Fatalf("attach to process %d: %v", pid, err)
	}
	defer unix.PtraceDetach(pid) //nolint:errcheck // it may have ended

	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, syscall.WALL, nil); err != nil {
		t.Fatalf("wait for process %d: %v", pid, err)
	}

	const most = 32
	var list seccompFilters
	for index := range uintptr(most) {
		program := make([]unix.SockFilter, 4096)
		n, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SECCOMP_GET_FILTER, uintptr(pid), index, uintptr(unsafe.Pointer(&program[0])), 0, 0)
		if errno == unix.ENOENT || errno == unix.EINVAL {
			return list
		}
		if errno != 0 {
			t.Fatalf("read filter %d of process %d: %v", index, pid, errno)
		}
		list = append(list, program[:n])
	}

	t.Fatalf("process %d has more than %d filters", pid, most)
	return nil
}
