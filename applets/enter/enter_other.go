//go:build !linux

package enter

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"kdiag/applets"
)

func run(applets.Streams, options) error { return errPlatform() }

func lifeline(context.Context, io.Reader, string) error { return errPlatform() }

func errPlatform() error {
	return fmt.Errorf("enter: not implemented on %s/%s", runtime.GOOS, runtime.GOARCH)
}
