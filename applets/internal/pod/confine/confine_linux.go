// Package confine takes from a process what the runtime's seccomp profile allows it for the sake of
// its container's SYS_ADMIN. A runtime compiles its profile by the capabilities of the container,
// kdiag's; a shell that is to have the rights of the application beside it gets the application's
// restrictions so.
package confine

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// WithoutAdmin puts the calling thread, and what it executes from now on, under a filter that
// refuses every call that containerd's default profile, of 1.6 to 2.4, allows to a container with
// SYS_ADMIN and not to one without (contrib/seccomp, "CAP_SYS_ADMIN"). It is laid over the filter that is there, of
// which the stricter answer counts (seccomp(2)). It needs SYS_ADMIN, or no_new_privs.
func WithoutAdmin() error {
	program := filter(native, foreign)
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
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
	// clone is refused where it asks for a new namespace, clone3 as one that the kernel does not
	// have: its flags are in memory, where no filter can read them, and callers then use clone.
	clone, clone3 uint32
	// from, if not 0, is the lowest number of a second ABI in the same architecture, which is
	// refused as a whole: x32's (arch/x86/entry/syscalls).
	from uint32
}

// newNamespaces are the flags of clone that ask for a namespace (clone(2)).
const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER |
	unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP

// Where the kernel puts what a filter reads (struct seccomp_data, seccomp(2)). The low half of an
// argument comes first on the architectures that there are tables for.
const (
	atNumber        = 0
	atArch          = 4
	atFirstArgument = 16
)

const (
	load    = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	equal   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	atLeast = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	anyOf   = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	answer  = unix.BPF_RET | unix.BPF_K

	notPermitted = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	noSuchCall   = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
)

// filter is a program for several architectures. Of any other it refuses every call.
func filter(list ...refused) []unix.SockFilter {
	program := []unix.SockFilter{{Code: load, K: atArch}}
	for _, r := range list {
		own := r.body()
		program = append(program, unix.SockFilter{Code: equal, K: r.arch, Jf: uint8(len(own))})
		program = append(program, own...)
	}
	return append(program, unix.SockFilter{Code: answer, K: noSuchCall})
}

// body decides on a call of the architecture. A jump of a program is 255 instructions long at the
// most; each call takes two.
func (r refused) body() []unix.SockFilter {
	body := []unix.SockFilter{{Code: load, K: atNumber}}
	if r.from != 0 {
		body = append(body, unix.SockFilter{Code: atLeast, K: r.from, Jf: 1}, unix.SockFilter{Code: answer, K: noSuchCall})
	}

	for _, number := range r.calls {
		body = append(body, unix.SockFilter{Code: equal, K: number, Jf: 1}, unix.SockFilter{Code: answer, K: notPermitted})
	}

	body = append(body,
		unix.SockFilter{Code: equal, K: r.clone3, Jf: 1}, unix.SockFilter{Code: answer, K: noSuchCall},
		unix.SockFilter{Code: equal, K: r.clone, Jf: 3}, unix.SockFilter{Code: load, K: atFirstArgument},
		unix.SockFilter{Code: anyOf, K: newNamespaces, Jf: 1}, unix.SockFilter{Code: answer, K: notPermitted})
	return append(body, unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ALLOW})
}
