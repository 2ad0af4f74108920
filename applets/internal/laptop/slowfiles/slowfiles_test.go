package slowfiles

import (
	"context"
	"errors"
	"testing"
)

// TestRead wants what was read, and the cause of the context's end from files that do not answer.
func TestRead(t *testing.T) {
	broken := errors.New("broken")
	if got, err := Read(t.Context(), "a file", func() (int, error) { return 7, broken }); got != 7 || !errors.Is(err, broken) {
		t.Errorf("Read = %d, %v, want what read returned", got, err)
	}

	late := errors.New("late")
	ctx, cancel := context.WithCancelCause(t.Context())
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	got, err := Read(ctx, "the key", func() (int, error) {
		cancel(late)
		<-never
		return 7, nil
	})
	if got != 0 || !errors.Is(err, late) || err.Error() != "read the key: late" {
		t.Errorf("Read of a file that does not answer = %d, %v, want the context's cause", got, err)
	}
}
