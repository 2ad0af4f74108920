package confine

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"

	"kdiag/integration/seccomptest"

	"golang.org/x/sys/unix"
)

// TestMain lets the test binary be the process that is confined, too.
func TestMain(m *testing.M) {
	if os.Getenv("CONFINE_TEST_CHILD") != "" {
		os.Exit(runConfined())
	}
	os.Exit(m.Run())
}

// runConfined puts its thread under the filter. It returns 0 if that refuses what it
// should and no more.
func runConfined() int {
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

	// A program can still start another one.
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
		t.Fatalf("the confined process exited with %d: %s", exit.ExitCode(), out)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// evaluate returns what the program answers to a call.
func evaluate(t *testing.T, program []unix.SockFilter, arch, number, argument uint32) uint32 {
	t.Helper()
	return seccomptest.Evaluate(t, program, seccomptest.Call{Arch: arch, Number: number, Argument: uint64(argument)})
}

// TestFilter checks the answer to every call of every ABI.
func TestFilter(t *testing.T) {
	program := compileFilter(abis)
	for _, a := range abis {
		for number := range uint32(1000) {
			want := uint32(unix.SECCOMP_RET_ALLOW)
			switch {
			case slices.Contains(a.calls, number):
				want = notPermitted
			case number == clone3:
				want = noSuchCall
			}

			if got := evaluate(t, program, a.arch, number, 0); got != want {
				t.Errorf("call %d of %#x = %#x, want %#x", number, a.arch, got, want)
			}
		}

		for flag := uint32(1); flag != 0; flag <<= 1 {
			want := uint32(unix.SECCOMP_RET_ALLOW)
			if flag&newNamespaces != 0 {
				want = notPermitted
			}

			if got := evaluate(t, program, a.arch, a.clone, flag); got != want {
				t.Errorf("clone of %#x with flag %#x = %#x, want %#x", a.arch, flag, got, want)
			}
		}

		if a.secondABI != 0 {
			if got := evaluate(t, program, a.arch, a.secondABI+1, 0); got != noSuchCall {
				t.Errorf("call of the second ABI = %#x, want %#x", got, noSuchCall)
			}
		}
	}

	if got := evaluate(t, program, unix.AUDIT_ARCH_S390X, 1, 0); got != noSuchCall {
		t.Errorf("call of another architecture = %#x, want %#x", got, noSuchCall)
	}
}

// TestNumbers compares the numbers of adminCalls with those of golang.org/x/sys.
func TestNumbers(t *testing.T) {
	for _, arch := range []struct {
		goarch string
		number func(adminCall) uint32
		clone  uint32
	}{
		{runtime.GOARCH, nativeNumber, unix.SYS_CLONE},
		{"386", i386Number, clone32},
		{"arm", armNumber, clone32},
	} {
		numbers := seccomptest.Numbers(t, arch.goarch)
		for _, call := range adminCalls {
			want, exists := numbers[call.name]
			if !exists {
				want = noCall
			}
			if got := arch.number(call); got != want {
				t.Errorf("%s on %s = %d, want %d", call.name, arch.goarch, got, want)
			}
		}

		if got := numbers["clone"]; got != arch.clone {
			t.Errorf("clone on %s = %d, want %d", arch.goarch, arch.clone, got)
		}
		if got := numbers["clone3"]; got != clone3 {
			t.Errorf("clone3 on %s = %d, want %d", arch.goarch, clone3, got)
		}
	}
}
