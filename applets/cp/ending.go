package cp

import (
	"context"
	"errors"
	"fmt"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/units"
	"kdiag/mux/filecopy"
)

// explainFailure says what the pod has said of the end of everything.
func (t *transfer) explainFailure(failure *filecopy.FailureError) error {
	err := fmt.Errorf("copy %s in %s: %w", t.remote.path, t.shell.Target(), failure)
	if failure.Denied && failure.FilesProblem.Hint == "" && !t.hello.ReadsAll {
		return applets.WithHint(err, "the container is read as user %d; --profile=chroot reads as root, without --as-target", t.hello.UID)
	}
	return err
}

// withPartial says what was kept of a file on the laptop.
func (t *transfer) withPartial(err error) error {
	var partial *filecopy.PartialError
	if !errors.As(err, &partial) {
		return err
	}
	return applets.WithHint(err, "%s of %s are kept beside it in %s: run the same command again with --resume to go on",
		units.Size(partial.Size), t.nameOf(partial.Path), partial.Temp)
}

// withResumeHint says how a copy goes on that broke off because of ended; cut is what the copy says.
func (t *transfer) withResumeHint(ctx context.Context, ended, cut error) error {
	var partial *filecopy.PartialError
	switch {
	case errors.As(cut, &partial):
		return t.withPartial(&filecopy.PartialError{Err: ended, Path: partial.Path, Temp: partial.Temp, Size: partial.Size})
	case t.local == stream:
		return ended
	case ctx.Err() != nil && !t.upload:
		return ended
	}
	return applets.WithHint(ended, "what was copied is kept: run the same command again with --resume to go on")
}
