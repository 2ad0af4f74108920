// Package seccomptest tells tests what a seccomp filter answers, and which numbers
// system calls have.
package seccomptest

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// Call describes a system call as a filter sees it (struct seccomp_data, seccomp(2)).
// The Argument is the first one.
type Call struct {
	Arch, Number uint32
	Argument     uint64
}

// Evaluate returns what a filter answers to a call. It evaluates the instructions that
// libseccomp and kdiag use, as the kernel does (kernel/seccomp.c, net/core/filter.c).
func Evaluate(t testing.TB, program []unix.SockFilter, c Call) uint32 {
	t.Helper()

	var data [64]byte
	binary.NativeEndian.PutUint32(data[0:], c.Number)
	binary.NativeEndian.PutUint32(data[4:], c.Arch)
	binary.NativeEndian.PutUint64(data[16:], c.Argument)

	var m machine
	for pc := 0; pc < len(program); pc++ {
		i := program[pc]
		if i.Code == unix.BPF_RET|unix.BPF_K {
			return i.K
		}
		if m.store(i, data[:]) {
			continue
		}

		skip, ok := m.jump(i)
		if !ok {
			t.Fatalf("instruction %d: code %#x is unknown", pc, i.Code)
		}
		pc += skip
	}

	t.Fatal("the filter does not return")
	return 0
}

// machine holds what a filter keeps between two instructions.
type machine struct {
	a, x   uint32
	memory [16]uint32
}

// store executes an instruction that loads, stores or calculates. It reports false for
// any other.
func (m *machine) store(i unix.SockFilter, data []byte) bool {
	switch i.Code {
	case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
		m.a = binary.NativeEndian.Uint32(data[i.K:])
	case unix.BPF_LD | unix.BPF_IMM:
		m.a = i.K
	case unix.BPF_LD | unix.BPF_MEM:
		m.a = m.memory[i.K]
	case unix.BPF_LDX | unix.BPF_IMM:
		m.x = i.K
	case unix.BPF_ST:
		m.memory[i.K] = m.a
	case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
		m.a &= i.K
	default:
		return false
	}

	return true
}

// jump returns how many instructions to skip. It reports false for an instruction that
// is no jump.
func (m *machine) jump(i unix.SockFilter) (skip int, ok bool) {
	taken := false
	switch i.Code {
	case unix.BPF_JMP | unix.BPF_JA:
		return int(i.K), true
	case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
		taken = m.a == i.K
	case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
		taken = m.a >= i.K
	case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
		taken = m.a > i.K
	case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
		taken = m.a&i.K != 0
	case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_X:
		taken = m.a == m.x
	default:
		return 0, false
	}

	if taken {
		return int(i.Jt), true
	}

	return int(i.Jf), true
}
