package main

import (
	"context"
	"time"
)

// pollInterval is the time between two looks at what nothing tells of.
const pollInterval = 10 * time.Millisecond

// waitUntil calls check until it returns nil. After the limit it returns check's
// last error.
func waitUntil(ctx context.Context, limit time.Duration, check func() error) error {
	for end := time.Now().Add(limit); ; {
		err := check()
		if err == nil || time.Now().After(end) {
			return err
		}
		if err := sleep(ctx, pollInterval); err != nil {
			return err
		}
	}
}

// sleep waits for some time, or until ctx is done, which is an error.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
