package confine

import (
	"errors"
	"os"
	"os/exec"
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

// confined puts itself under the filter and is 0 if it does what it should, on
// a thread that was there before.
func confined() int {
	began, ended := make(chan struct{}), make(chan int)
	go func() {
		<-began
		_, _, keys := unix.Syscall(unix.SYS_KEYCTL, 0, 0, 0)
		_, _, faults := unix.Syscall(unix.SYS_USERFAULTFD, 0, 0, 0)
		switch {
		case keys != unix.EPERM:
			ended <- 2
		case faults != unix.EPERM:
			ended <- 3
		case unix.Unshare(unix.CLONE_FS) != nil:
			ended <- 4
		case exec.Command("/bin/true").Run() != nil:
			ended <- 5
		default:
			ended <- 0
		}
	}()
	if err := Threads(); err != nil {
		return 10
	}
	// A second one would have each call go through both.
	if err := Threads(); err != nil {
		return 11
	}
	close(began)
	return <-ended
}

func TestThreads(t *testing.T) {
	if _, _, errno := unix.Syscall(unix.SYS_KEYCTL, 0, 0, 0); errno == unix.EPERM {
		t.Fatal("keyctl is refused to this test itself: it runs under a filter")
	}
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

// run is what the kernel makes of the program for a call, of the instructions
// that filter uses.
func run(t *testing.T, program []unix.SockFilter, arch, number uint32) uint32 {
	t.Helper()
	var a uint32
	for pc := 0; pc < len(program); pc++ {
		switch i := program[pc]; i.Code {
		case load:
			a = map[uint32]uint32{atNumber: number, atArch: arch}[i.K]
		case equal, atLeast:
			if i.Code == equal && a == i.K || i.Code == atLeast && a >= i.K {
				pc += int(i.Jt)
			} else {
				pc += int(i.Jf)
			}
		case answer:
			return i.K
		default:
			t.Fatalf("instruction %d: code %#x", pc, i.Code)
		}
	}
	t.Fatal("the program has no end")
	return 0
}

// TestFilter goes through every number that there is, in every architecture.
func TestFilter(t *testing.T) {
	program := filter(native, foreign)
	for _, r := range []refused{native, foreign} {
		no := map[uint32]bool{}
		for _, number := range r.calls {
			no[number] = true
		}
		for number := range uint32(1000) {
			want := uint32(unix.SECCOMP_RET_ALLOW)
			if no[number] {
				want = notPermitted
			}
			if got := run(t, program, r.arch, number); got != want {
				t.Errorf("call %d of %#x = %#x, want %#x", number, r.arch, got, want)
			}
		}
		if r.from != 0 {
			if got := run(t, program, r.arch, r.from+1); got != noSuchCall {
				t.Errorf("call of the second ABI = %#x, want %#x", got, noSuchCall)
			}
		}
	}
	if got := run(t, program, unix.AUDIT_ARCH_S390X, 1); got != noSuchCall {
		t.Errorf("call of another architecture = %#x, want %#x", got, noSuchCall)
	}
}
