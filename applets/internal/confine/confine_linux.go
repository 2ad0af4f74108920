// Package confine puts a process that has no seccomp filter of its runtime's
// under one of kdiag's own: it refuses what the runtimes' default profiles
// refuse to a container with SYS_ADMIN, SYS_PTRACE and SYS_CHROOT. A runtime
// compiles its profile anew for the container and for each exec, 20 ms each; a
// table of numbers takes none.
package confine

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Threads puts every thread of the process, and what they start from now on,
// under the filter, unless there is one already. It needs SYS_ADMIN, or
// no_new_privs (seccomp(2)).
func Threads() error {
	mode, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0)
	if err != nil || mode != 0 {
		return err // none in the kernel, or one of the runtime's
	}
	program := filter(native, foreign)
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(program)
	if errno != 0 {
		return fmt.Errorf("set a seccomp filter: %w", errno)
	}
	return nil
}

// refused are the system calls of one architecture that the filter refuses.
type refused struct {
	arch  uint32 // AUDIT_ARCH_… (linux/audit.h)
	calls []uint32
	// from, if not 0, is the lowest number of a second ABI in the same
	// architecture, refused as a whole: x32's (arch/x86/entry/syscalls).
	from uint32
}

// Where the kernel puts what a filter reads (struct seccomp_data, seccomp(2)).
const (
	atNumber = 0
	atArch   = 4
)

const (
	load    = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	equal   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	atLeast = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	answer  = unix.BPF_RET | unix.BPF_K

	notPermitted = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	noSuchCall   = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
)

// filter is a program for several architectures. Of any other it refuses every
// call.
func filter(list ...refused) []unix.SockFilter {
	program := []unix.SockFilter{{Code: load, K: atArch}}
	for _, r := range list {
		own := r.body()
		program = append(program, unix.SockFilter{Code: equal, K: r.arch, Jf: uint8(len(own))})
		program = append(program, own...)
	}
	return append(program, unix.SockFilter{Code: answer, K: noSuchCall})
}

// body decides on a call of the architecture. A jump of a program is 255
// instructions long at the most; each call takes two.
func (r refused) body() []unix.SockFilter {
	body := []unix.SockFilter{{Code: load, K: atNumber}}
	if r.from != 0 {
		body = append(body, unix.SockFilter{Code: atLeast, K: r.from, Jf: 1}, unix.SockFilter{Code: answer, K: noSuchCall})
	}
	for _, number := range r.calls {
		body = append(body, unix.SockFilter{Code: equal, K: number, Jf: 1}, unix.SockFilter{Code: answer, K: notPermitted})
	}
	return append(body, unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ALLOW})
}
