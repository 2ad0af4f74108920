//go:build !linux

package sockdiag

import (
	"context"
	"fmt"
	"runtime"
)

// Destroy fails: SOCK_DESTROY is Linux's.
func Destroy(context.Context, uint16, func(Connection) bool) (int, error) {
	return 0, fmt.Errorf("destroy connections: not implemented on %s/%s", runtime.GOOS, runtime.GOARCH)
}
