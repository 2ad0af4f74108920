package inspection

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kdiag/kube"
)

const (
	// firstPause and lastPause are the shortest and the longest pause before the next attempt
	// to connect again. The pause doubles each time.
	firstPause = 100 * time.Millisecond
	lastPause  = 3 * time.Second
)

// errConnectionLost reports streams that ended without a word.
var errConnectionLost = errors.New("connection lost")

// inspectAgain connects again and again after a connection that broke with an error, until ctx ends,
// the target has ended, or something else than the connection fails.
func (i *inspector[T]) inspectAgain(ctx context.Context, err error) error {
	target := i.shell.KeepTarget()

	for pause := firstPause; i.isLost(ctx, err); pause = min(2*pause, lastPause) {
		if i.came {
			i.came, pause = false, firstPause
			i.shell.Notice(fmt.Sprintf("%v; connecting again", err))
		}

		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}

		if gone := i.shell.CheckGone(ctx, target); gone != nil {
			return gone
		}
		err = i.inspectOnce(ctx)
	}

	return err
}

// isLost reports whether an error is that of a connection which may be made again: one that has
// brought a snapshot, or one after it.
func (i *inspector[T]) isLost(ctx context.Context, err error) bool {
	var exit *kube.CommandExitError
	switch {
	case err == nil, ctx.Err() != nil, !i.seen, i.Interval == 0:
		return false
	case i.unread, errors.As(err, &exit), kube.IsDenied(err), kube.IsNotStarted(err):
		return false
	}
	return kube.MayPass(err)
}
