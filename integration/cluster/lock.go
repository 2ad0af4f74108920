package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// lock takes the machine-wide lock of that name, the name of an abstract Unix socket (unix(7)). The kernel releases it when the
// process ends, however it ends; programs started meanwhile do not inherit it. When another holds it, lock calls waiting once,
// and waits.
func lock(ctx context.Context, name string, waiting func()) (unlock func(), err error) {
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

// sleep returns early, with an error, when ctx is done.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
