package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// takeLock takes a lock of the whole machine. Its name is that of an abstract Unix
// socket (unix(7)): the kernel releases it when the process ends, in whatever way,
// and programs that are started meanwhile do not inherit it. While another process
// holds it, takeLock calls waiting once, and waits.
func takeLock(ctx context.Context, name string, waiting func()) (unlock func(), err error) {
	for {
		l, err := net.Listen("unix", name)
		if err == nil {
			return func() { l.Close() }, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("lock: %w", err)
		}

		waiting()
		waiting = func() {}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return nil, err
		}
	}
}
