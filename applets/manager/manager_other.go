//go:build !linux

package manager

import (
	"context"
	"fmt"
	"runtime"

	"kdiag/applets"
)

func run(context.Context, applets.Streams, options) error {
	return fmt.Errorf("manager: not implemented on %s/%s", runtime.GOOS, runtime.GOARCH)
}
