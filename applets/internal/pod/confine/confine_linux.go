// Package confine takes from a process what the runtime's seccomp profile allows only
// because its container has SYS_ADMIN. A runtime derives the profile from the
// container's capabilities, and the container here is kdiag's. A shell that is to have
// no more rights than the application beside it gets the application's restrictions
// this way.
package confine

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// WithoutAdmin puts the calling thread, and whatever it executes from now on, under a
// filter that refuses adminCalls. The filter adds to the one that is already there;
// the stricter answer of the two counts (seccomp(2)). Setting it needs SYS_ADMIN or
// no_new_privs.
func WithoutAdmin() error {
	program := compileFilter(abis)
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(program)
	if errno != 0 {
		return fmt.Errorf("set a seccomp filter: %w", errno)
	}

	return nil
}

// abi describes one set of system calls that programs on this machine can use, and
// which of them to refuse.
type abi struct {
	arch  uint32 // AUDIT_ARCH_… (linux/audit.h)
	calls []uint32
	// clone is refused only for a new namespace.
	clone uint32
	// secondABI, if not 0, is the lowest number of another ABI with the same arch. All
	// of that is refused.
	secondABI uint32
}

// clone3 is a call that the filter hides, as if the kernel did not have it: its flags
// are in memory, where no filter can read them. Programs then use clone instead. The
// number is the same in all of these ABIs, as those of all calls since Linux 5.1 are.
const clone3 = unix.SYS_CLONE3

// newNamespaces holds the flags of clone that ask for a namespace (clone(2)).
const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER |
	unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP

// Offsets of what a filter reads (struct seccomp_data, seccomp(2)). The low half of an
// argument comes first on the architectures that abis exist for.
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

// compileFilter returns a program that decides on the calls of several ABIs and refuses
// every call of any other.
func compileFilter(abis []abi) []unix.SockFilter {
	program := []unix.SockFilter{{Code: load, K: atArch}}
	for _, a := range abis {
		body := a.compile()
		program = append(program, unix.SockFilter{Code: equal, K: a.arch, Jf: uint8(len(body))})
		program = append(program, body...)
	}

	return append(program, unix.SockFilter{Code: answer, K: noSuchCall})
}

// compile returns the part of the program that decides on this ABI's calls. A jump
// reaches at most 255 instructions, and each call takes two.
func (a abi) compile() []unix.SockFilter {
	body := []unix.SockFilter{{Code: load, K: atNumber}}
	if a.secondABI != 0 {
		body = append(body,
			unix.SockFilter{Code: atLeast, K: a.secondABI, Jf: 1}, unix.SockFilter{Code: answer, K: noSuchCall})
	}

	for _, number := range a.calls {
		body = append(body,
			unix.SockFilter{Code: equal, K: number, Jf: 1}, unix.SockFilter{Code: answer, K: notPermitted})
	}

	body = append(body,
		unix.SockFilter{Code: equal, K: clone3, Jf: 1}, unix.SockFilter{Code: answer, K: noSuchCall},
		unix.SockFilter{Code: equal, K: a.clone, Jf: 3}, unix.SockFilter{Code: load, K: atFirstArgument},
		unix.SockFilter{Code: anyOf, K: newNamespaces, Jf: 1}, unix.SockFilter{Code: answer, K: notPermitted})

	return append(body, unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ALLOW})
}
