package shell

import (
	"context"
	"errors"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/streamrelay"
	"kdiag/kube"
)

// killDescriber says what has killed a shell.
type killDescriber interface {
	DescribeKill(ctx context.Context) string
}

// explainEnd returns the error that exits as a shell in a pod that was made for it has ended.
func explainEnd(ctx context.Context, host killDescriber, err error) error {
	var exit *kube.CommandExitError
	switch {
	case errors.Is(err, streamrelay.ErrHungUp):
		return &applets.ExitError{Code: applets.ExitSIGHUP}
	case errors.As(err, &exit):
		return explainExit(ctx, host, exit)
	}
	return err
}

// explainExit returns the error that exits with a shell's own code. A shell that was killed because
// its container, the target or the pod has ended cannot say so itself.
func explainExit(ctx context.Context, host killDescriber, exit *kube.CommandExitError) error {
	if exit.Code == applets.ExitSIGKILL && ctx.Err() == nil {
		if killed := host.DescribeKill(ctx); killed != "" {
			return &applets.ExitError{Code: exit.Code, Err: errors.New(killed)}
		}
	}
	return &applets.ExitError{Code: exit.Code}
}
