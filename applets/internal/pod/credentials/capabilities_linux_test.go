package credentials

import (
	"errors"
	"fmt"
	"runtime"
	"testing"

	"kdiag/applets/internal/pod/procfs"
	"kdiag/integration/testenv"

	"golang.org/x/sys/unix"
)

// TestThisThread changes every set of one thread, and finds another as it was.
func TestThisThread(t *testing.T) {
	testenv.MustHaveRoot(t)
	before, err := ReadOwnStatus()
	if err != nil {
		t.Fatal(err)
	}

	changed := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: nobody else is to get this thread
		changed <- changeCapabilities()
	}()
	if err := <-changed; err != nil {
		t.Error(err)
	}

	after, err := ReadOwnStatus()
	if err != nil || after.Caps != before.Caps || after.NoNewPrivileges != before.NoNewPrivileges {
		t.Errorf("another thread = %+v, %v, want %+v", after, err, before)
	}
}

// changeCapabilities leaves the calling thread one capability, in all sets.
func changeCapabilities() error {
	const kill = procfs.CapSet(1 << unix.CAP_KILL)
	own, err := ReadOwnStatus()
	if err != nil {
		return err
	}

	err = errors.Join(
		ThisThread.DropBounding(own.Caps.Bounding&^kill),
		ThisThread.SetCapabilities(procfs.Capabilities{Effective: kill, Permitted: kill, Inheritable: kill}),
		ThisThread.SetAmbient(kill),
		ThisThread.SetNoNewPrivileges(),
	)
	if err != nil {
		return err
	}

	now, err := ReadOwnStatus()
	if err != nil {
		return err
	}

	want := procfs.Capabilities{Effective: kill, Permitted: kill, Inheritable: kill, Bounding: kill, Ambient: kill}
	if now.Caps != want || !now.NoNewPrivileges {
		return fmt.Errorf("this thread = %+v, want %+v and no_new_privs", now, want)
	}

	return nil
}
