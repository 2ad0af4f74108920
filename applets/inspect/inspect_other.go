//go:build !linux

package inspect

import (
	"context"
	"fmt"
	"runtime"

	"kdiag/applets"
)

func run(context.Context, applets.Streams, options) error {
	return fmt.Errorf("inspect: not implemented on %s/%s", runtime.GOOS, runtime.GOARCH)
}
