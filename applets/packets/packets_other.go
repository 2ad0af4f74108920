//go:build !linux

package packets

import (
	"context"
	"fmt"
	"runtime"

	"kdiag/applets"
)

func run(context.Context, applets.Streams) error {
	return fmt.Errorf("packets: not implemented on %s/%s", runtime.GOOS, runtime.GOARCH)
}
