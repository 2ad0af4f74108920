package enter

import (
	"context"
	"fmt"
	"io"

	"kdiag/applets/internal/confine"
	"kdiag/applets/internal/footprint"
)

// lifeline stands by until stdin ends, which the user's side holds open, or
// ctx does, and then hangs the session up.
func lifeline(ctx context.Context, stdin io.Reader, session string) error {
	// Where that cannot be, nobody reads a word of it.
	_ = confine.Threads()
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
