package inspect

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/pod/credentials"
	"kdiag/applets/internal/pod/lastuse"
	"kdiag/applets/internal/pod/lockdown"
	"kdiag/applets/internal/pod/procfs"

	"golang.org/x/sys/unix"
)

// run prints a snapshot a line: one, or one at each interval until stdin ends.
// The stream of stdin is what ends with the client, however that ended.
func run(ctx context.Context, streams applets.Streams, opts options) error {
	lastuse.Mark()
	if err := giveUpRights(); err != nil {
		return err
	}

	// The user that files are opened as is a thread's (package credentials).
	runtime.LockOSThread()
	out := json.NewEncoder(streams.Out)
	if opts.interval == 0 {
		return printOne(out, opts)
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, streams.In)
	}()

	tick := time.NewTicker(opts.interval)
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

func printOne(out *json.Encoder, opts options) error {
	taken, err := take(opts, bounds)
	if err != nil {
		return err
	}
	if err := out.Encode(taken); err != nil {
		return fmt.Errorf("print the snapshot: %w", err)
	}
	return nil
}

// giveUpRights keeps what looking takes. With SYS_PTRACE that is little: passing over the modes of
// the target's files, and the read of its users' names without a trace of it (open(2), O_NOATIME).
// Without it the kernel lets a process look at another whose capabilities it has all of, as that
// one's user: then whatever there is.
func giveUpRights() error {
	own, err := credentials.Own()
	if err != nil {
		return err
	}

	keep := own.Caps.Permitted
	if own.Caps.Effective.Has(unix.CAP_SYS_PTRACE) {
		keep = procfs.CapSet(1<<unix.CAP_SYS_PTRACE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER)
	}
	return lockdown.Keep(keep, 0)
}
