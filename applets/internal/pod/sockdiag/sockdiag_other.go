//go:build !linux

package sockdiag

import (
	"context"
	"fmt"
	"runtime"
)

// DestroyConnections fails, since only Linux has SOCK_DESTROY.
func DestroyConnections(context.Context, uint16, func(TCPConnection) bool) (int, error) {
	return 0, unsupported()
}

// DestroyConnectionsTo fails as DestroyConnections does.
func DestroyConnectionsTo(context.Context, uint16, func(TCPConnection) bool) (int, error) {
	return 0, unsupported()
}

func unsupported() error {
	return fmt.Errorf("reset connections: not implemented on %s/%s", runtime.GOOS, runtime.GOARCH)
}
