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

// lifeline stands by until stdin ends, which the user's side holds open, or
// ctx does, and then hangs the session up.
func lifeline(ctx context.Context, stdin io.Reader, session string) error {
	// It signals processes of other users, and does nothing else.
	if err := lockdown.Keep(procfs.CapSet(1<<unix.CAP_KILL), 0); err != nil {
		return err
	}

	footprint.Reduce(footprint.Waiting)
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
