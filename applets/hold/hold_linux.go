package hold

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"kdiag/applets/internal/pod/footprint"
	"kdiag/applets/internal/pod/lockdown"
	"kdiag/applets/internal/pod/podproc"

	"golang.org/x/sys/unix"
)

// waitForEnd waits until ctx ends, or the deadline. Meanwhile it is the parent of what shells leave
// behind, and holds no capability.
func waitForEnd(ctx context.Context, deadline time.Duration) error {
	if err := lockdown.KeepCapabilities(0, 0); err != nil {
		return err
	}

	died := make(chan os.Signal, 1)
	signal.Notify(died, unix.SIGCHLD)
	defer signal.Stop(died)

	footprint.ReduceMemory(footprint.WaitingLimit)

	over := time.NewTimer(deadline)
	defer over.Stop()
	for {
		// Before the first signal too: a child may have died before anybody listened.
		podproc.ReapChildren()
		select {
		case <-ctx.Done():
			return nil
		case <-over.C:
			return nil
		case <-died:
		}
	}
}

// endHold ends the hold that keeps this container. It has the same user, so that it needs no right.
func endHold() error {
	if err := lockdown.KeepCapabilities(0, 0); err != nil {
		return err
	}

	pid, _, err := podproc.FindHold()
	if err == nil {
		err = unix.Kill(pid, unix.SIGTERM)
	}
	if err != nil {
		return fmt.Errorf("end this container: %w", err)
	}
	return nil
}

// installProgram copies this program to a path in a volume that nobody else writes to yet.
func installProgram(path string) error {
	if err := lockdown.KeepCapabilities(0, 0); err != nil {
		return err
	}

	program, err := os.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("open this program: %w", err)
	}
	defer program.Close() //nolint:errcheck // it was only read

	copied, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return fmt.Errorf("install this program: %w", err)
	}
	if _, err := io.Copy(copied, program); err != nil {
		_ = copied.Close()
		return fmt.Errorf("install this program: %w", err)
	}

	// Whatever the umask is: another user may execute it.
	if err := copied.Chmod(0o755); err != nil {
		_ = copied.Close()
		return fmt.Errorf("install this program: %w", err)
	}
	return copied.Close()
}
