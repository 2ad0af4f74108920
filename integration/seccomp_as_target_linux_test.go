package integration

import (
	"encoding/binary"
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

	// The runtime allows a container with SYS_PTRACE or SYS_CHROOT these calls: what
	// traces, and chroot, by their numbers in both architectures. The kernel checks
	// each against the caller's own rights, which are the application's.
	checkedAnyway := []uint32{
		unix.SYS_KCMP, unix.SYS_PIDFD_GETFD, unix.SYS_PROCESS_MADVISE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV,
		unix.SYS_PTRACE, unix.SYS_CHROOT, 349, 347, 348, 26, 61,
	}
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

		for _, call := range listSampleCalls() {
			theirs, ours := application.answer(t, call), shell.answer(t, call)
			if theirs != unix.SECCOMP_RET_ALLOW && ours == unix.SECCOMP_RET_ALLOW && !slices.Contains(checkedAnyway, call.number) {
				t.Fatalf("profile %s: call %d of %#x with %#x is allowed, and %#x for the application", profile, call.number, call.arch, call.argument, theirs)
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

// systemCall carries a system call as a filter sees it (struct seccomp_data), with
// its first argument.
type systemCall struct {
	arch, number uint32
	argument     uint64
}

// listSampleCalls returns all numbers there are, in both architectures of the
// machine, with first arguments that profiles tell apart: clone's flags, address
// families, personalities.
func listSampleCalls() []systemCall {
	arguments := []uint64{0, 0x8, 0x20000, 0x20008, 0xffffffff, 0x40000, 17}
	for bit := range 32 {
		arguments = append(arguments, 1<<bit)
	}

	for family := range uint64(48) {
		arguments = append(arguments, family)
	}

	architectures := []uint32{unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_I386}
	if runtime.GOARCH == "arm64" {
		architectures = []uint32{unix.AUDIT_ARCH_AARCH64, unix.AUDIT_ARCH_ARM}
	}

	var calls []systemCall
	for _, arch := range architectures {
		for number := range uint32(480) {
			for _, argument := range arguments {
				calls = append(calls, systemCall{arch, number, argument})
			}
		}
	}

	return calls
}

// seccompFilters carries the programs that filter the system calls of a process.
type seccompFilters [][]unix.SockFilter

// answer returns the strictest answer of all the filters: the least, as a signed
// number without its data (seccomp(2)).
func (f seccompFilters) answer(t *testing.T, c systemCall) uint32 {
	t.Helper()
	strictest := uint32(unix.SECCOMP_RET_ALLOW)
	for _, program := range f {
		if got := runProgram(t, program, c) & unix.SECCOMP_RET_ACTION_FULL; int32(got) < int32(strictest) {
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

// runProgram runs a filter as the kernel does (kernel/seccomp.c, net/core/filter.c),
// for the instructions that libseccomp and kdiag use.
func runProgram(t *testing.T, program []unix.SockFilter, c systemCall) uint32 {
	t.Helper()
	var data [64]byte
	binary.NativeEndian.PutUint32(data[0:], c.number)
	binary.NativeEndian.PutUint32(data[4:], c.arch)
	binary.NativeEndian.PutUint64(data[16:], c.argument)

	var a, x uint32
	var memory [16]uint32
	for pc := 0; pc < len(program); pc++ {
		i := program[pc]
		jump := false
		switch i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = binary.NativeEndian.Uint32(data[i.K:])
			continue
		case unix.BPF_LD | unix.BPF_IMM:
			a = i.K
			continue
		case unix.BPF_LD | unix.BPF_MEM:
			a = memory[i.K]
			continue
		case unix.BPF_LDX | unix.BPF_IMM:
			x = i.K
			continue
		case unix.BPF_ST:
			memory[i.K] = a
			continue
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= i.K
			continue
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(i.K)
			continue
		case unix.BPF_RET | unix.BPF_K:
			return i.K
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			jump = a == i.K
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			jump = a >= i.K
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			jump = a > i.K
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			jump = a&i.K != 0
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_X:
			jump = a == x
		default:
			t.Fatalf("instruction %d: code %#x", pc, i.Code)
		}

		if jump {
			pc += int(i.Jt)
		} else {
			pc += int(i.Jf)
		}
	}

	t.Fatal("the program has no end")
	return 0
}
