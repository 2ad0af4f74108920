//go:build !linux

package enter

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"kdiag/applets"
)

func run(applets.Streams, options) error { return errUnsupported() }

func runLifeline(context.Context, io.Reader, string) error { return errUnsupported() }

func loadPrograms(context.Context, applets.Streams, []string) error { return errUnsupported() }

func errUnsupported() error {
	return fmt.Errorf("enter: not implemented on %s/%s", runtime.GOOS, runtime.GOARCH)
}
