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

// run prints one snapshot, or one at each interval, each on a line, and goes on until stdin ends.
// Stdin ends with the client, in whichever way that ends.
func run(ctx context.Context, streams applets.Streams, opts options) error {
	lastuse.MarkUsed()
	if err := giveUpRights(); err != nil {
		return err
	}

	// The user that files are opened as is a thread's (package credentials).
	runtime.LockOSThread()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, streams.In)
	}()

	out := json.NewEncoder(streams.Out)
	if opts.interval == 0 {
		err := printOnce(out, opts)
		if err == nil {
			// The end of the process would cut off what is under way to the client, which
			// ends stdin when it has everything.
			<-ctx.Done()
		}
		return err
	}

	tick := time.NewTicker(opts.interval)
	defer tick.Stop()

	for {
		if err := printSnapshot(out, opts); err != nil {
			return err
		}

		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// printOnce prints what was asked for, a single time.
func printOnce(out *json.Encoder, opts options) error {
	if opts.environment {
		return printEnvironment(out, opts.target)
	}
	return printSnapshot(out, opts)
}

// printSnapshot takes a snapshot and prints it.
func printSnapshot(out *json.Encoder, opts options) error {
	taken, err := takeSnapshot(opts, defaultLimits)
	if err != nil {
		return err
	}

	if err := out.Encode(taken); err != nil {
		return fmt.Errorf("print the snapshot: %w", err)
	}

	return nil
}

// giveUpRights gives up the capabilities that looking does not need. With SYS_PTRACE it keeps few:
// those to pass over the modes of the target's files, and to read its users' names without a trace
// (open(2), O_NOATIME). Without SYS_PTRACE it keeps all: the kernel lets a process look at another
// as that one's user, but only if it has all of that one's capabilities.
func giveUpRights() error {
	own, err := credentials.ReadOwnStatus()
	if err != nil {
		return err
	}

	keep := own.Caps.Permitted
	if own.Caps.Effective.Has(unix.CAP_SYS_PTRACE) {
		keep = procfs.CapSet(1<<unix.CAP_SYS_PTRACE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER)
	}

	return lockdown.KeepCapabilities(keep, 0)
}
