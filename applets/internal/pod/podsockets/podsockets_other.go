//go:build !linux

package podsockets

import (
	"fmt"
	"runtime"
)

// AnyOfOthers fails, since only Linux has network namespaces.
func AnyOfOthers(uint32, string) (bool, error) {
	return false, fmt.Errorf("look for sockets: not implemented on %s/%s", runtime.GOOS, runtime.GOARCH)
}
