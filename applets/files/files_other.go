//go:build !linux

package files

import (
	"fmt"
	"runtime"

	"kdiag/applets"
	"kdiag/mux/wire"
)

func run(applets.Streams, wire.FilesArguments) error {
	return fmt.Errorf("files: not implemented on %s/%s", runtime.GOOS, runtime.GOARCH)
}
