package confine

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain is also the process that is confined.
func TestMain(m *testing.M) {
	if os.Getenv("CONFINE_TEST_CHILD") != "" {
		os.Exit(confined())
	}
	os.Exit(m.Run())
}

// confined puts itself under the filter and is 0 if that does what it should.
func confined() int {
	runtime.LockOSThread()
	if err := WithoutAdmin(); err != nil {
		return 10
	}
	if unix.Unshare(unix.CLONE_NEWNS) != unix.EPERM {
		return 2
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_CLONE, unix.CLONE_NEWUSER, 0, 0); errno != unix.EPERM {
		return 3
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_CLONE3, 0, 0, 0); errno != unix.ENOSYS {
		return 4
	}
	// What a program needs to start another one is still there.
	if exec.Command("/bin/true").Run() != nil {
		return 5
	}

	return 0
}

func TestWithoutAdmin(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "CONFINE_TEST_CHILD=1")
	out, err := cmd.CombinedOutput()

	var exit *exec.ExitError
	if errors.As(err, &exit) {
		t.Fatalf("the confined process ended with %d: %s", exit.ExitCode(), out)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// call is a system call as a filter sees it.
type call struct{ arch, number, argument uint32 }

// runFilter is what the kernel makes of the program for a call, of the instructions that filter
// uses.
func runFilter(t *testing.T, program []unix.SockFilter, c call) uint32 {
	t.Helper()
	var a uint32
	for pc := 0; pc < len(program); pc++ {
		i := program[pc]
		taken := false
		switch i.Code {
		case load:
			a = map[uint32]uint32{atNumber: c.number, atArch: c.arch, atFirstArgument: c.argument}[i.K]
			continue
		case answer:
			return i.K
		case equal:
			taken = a == i.K
		case atLeast:
			taken = a >= i.K
		case anyOf:
			taken = a&i.K != 0
		default:
			t.Fatalf("instruction %d: code %#x", pc, i.Code)
		}

		if taken {
			pc += int(i.Jt)
		} else {
			pc += int(i.Jf)
		}
	}

	t.Fatal("the program has no end")
	return 0
}

// TestFilter goes through every number that there is, in every architecture.
func TestFilter(t *testing.T) {
	program := filter(native, foreign)
	for _, r := range []refused{native, foreign} {
		for number := range uint32(1000) {
			want := uint32(unix.SECCOMP_RET_ALLOW)
			switch {
			case slices.Contains(r.calls, number):
				want = notPermitted
			case number == r.clone3:
				want = noSuchCall
			}
			if got := runFilter(t, program, call{r.arch, number, 0}); got != want {
				t.Errorf("call %d of %#x = %#x, want %#x", number, r.arch, got, want)
			}
		}

		for flag := uint32(1); flag != 0; flag <<= 1 {
			want := uint32(unix.SECCOMP_RET_ALLOW)
			if flag&newNamespaces != 0 {
				want = notPermitted
			}
			if got := runFilter(t, program, call{r.arch, r.clone, flag}); got != want {
				t.Errorf("clone of %#x with flag %#x = %#x, want %#x", r.arch, flag, got, want)
			}
		}

		if r.from != 0 {
			if got := runFilter(t, program, call{r.arch, r.from + 1, 0}); got != noSuchCall {
				t.Errorf("call of the second ABI = %#x, want %#x", got, noSuchCall)
			}
		}
	}

	if got := runFilter(t, program, call{unix.AUDIT_ARCH_S390X, 1, 0}); got != noSuchCall {
		t.Errorf("call of another architecture = %#x, want %#x", got, noSuchCall)
	}
}
