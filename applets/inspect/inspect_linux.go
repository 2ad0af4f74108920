package inspect

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/confine"
)

// run prints a snapshot a line: one, or one at each interval until stdin ends.
// The stream of stdin is what ends with the client, however that ended.
func run(ctx context.Context, streams applets.Streams, opts Options) error {
	if err := confine.Threads(); err != nil {
		fmt.Fprintf(streams.Err, "note: %v\n", err)
	}
	// The user that files are opened as is a thread's (package credentials).
	runtime.LockOSThread()
	out := json.NewEncoder(streams.Out)
	if opts.Interval == 0 {
		return printOne(out, opts)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, streams.In)
	}()
	tick := time.NewTicker(opts.Interval)
	defer tick.Stop()
	for {
		if err := printOne(out, opts); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func printOne(out *json.Encoder, opts Options) error {
	taken, err := take(opts, bounds)
	if err != nil {
		return err
	}
	if err := out.Encode(taken); err != nil {
		return fmt.Errorf("print the snapshot: %w", err)
	}
	return nil
}
