package enter

import (
	"context"
	"fmt"
	"io"

	"kdiag/applets/internal/pod/footprint"
	"kdiag/applets/internal/pod/lockdown"
	"kdiag/applets/internal/pod/procfs"

	"golang.org/x/sys/unix"
)

// runLifeline waits until stdin ends, which the laptop holds open, or ctx, and then hangs the
// session up.
func runLifeline(ctx context.Context, stdin io.Reader, session string) error {
	// It signals processes of other users, and does nothing else.
	if err := lockdown.KeepCapabilities(procfs.CapSet(1<<unix.CAP_KILL), 0); err != nil {
		return err
	}

	footprint.ReduceMemory(footprint.WaitingLimit)

	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// An error is an end as well.
		_, _ = io.Copy(io.Discard, stdin)
	}()

	select {
	case <-ended:
	case <-ctx.Done():
	}

	if err := hangUp(session); err != nil {
		return fmt.Errorf("hang up session %s: %w", session, err)
	}

	return nil
}
