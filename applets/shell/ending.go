package shell

import (
	"context"
	"errors"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/kube"
)

// explainExit returns the error that exits with a shell's own code. A shell that was killed because
// its container, the target or the pod has ended cannot say so itself.
func explainExit(ctx context.Context, handle *containers.Shell, exit *kube.CommandExitError) error {
	if exit.Code == applets.ExitSIGKILL && ctx.Err() == nil {
		if killed := handle.DescribeKill(ctx); killed != "" {
			return &applets.ExitError{Code: exit.Code, Err: errors.New(killed)}
		}
	}
	return &applets.ExitError{Code: exit.Code}
}
