package kube

import (
	"context"
	"fmt"
	"time"
)

// TimeoutError is the cause of a context that WithTimeout ended.
type TimeoutError struct{ After time.Duration }

func (e *TimeoutError) Error() string { return fmt.Sprintf("no answer within %s", e.After) }

// WithTimeout works like context.WithTimeout, with a *TimeoutError as the cause.
func WithTimeout(ctx context.Context, after time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, after, &TimeoutError{after})
}
