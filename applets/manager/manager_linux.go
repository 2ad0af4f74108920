package manager

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/pod/footprint"
	"kdiag/applets/internal/pod/lastuse"
	"kdiag/applets/internal/pod/lockdown"
	"kdiag/applets/internal/pod/podproc"
	"kdiag/applets/internal/pod/procfs"
	"kdiag/mux/wire"

	"golang.org/x/sys/unix"
)

// run does a manager's work until there has been none for the idle timeout. When ctx ends it goes on
// until the pod's application has ended, or, as the manager of a net container, nothing is in use.
func run(ctx context.Context, streams applets.Streams, opts options) error {
	if opts.role == wire.RoleNet {
		return runNet(ctx, streams, opts)
	}
	if err := lockdown.KeepCapabilities(0, 0); err != nil {
		return err
	}

	// As PID 1 of its own PID namespace it is the parent of what shells leave behind.
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	defer signal.Stop(ended)

	if err := announceReady(streams, opts, wire.Ready{}); err != nil {
		return err
	}

	shells := work{
		memoryLimit: footprint.WaitingLimit, inUse: othersAlive, lastUse: lastuse.ReadLastUse, ended: ended,
		applicationLeft: podproc.IsApplicationLeft, outlivesIdle: true,
	}
	if err := waitUntilIdle(ctx, streams, opts, shells); err != nil || ctx.Err() == nil {
		return err
	}

	shells.outliveApplication(streams)
	return nil
}

// work tells whether a manager has something to do.
type work struct {
	memoryLimit int64 // in bytes
	// inUse reports whether something is in use now.
	inUse func() (bool, error)
	// lastUse returns when something was last in use that may have ended since; nil if inUse tells
	// enough.
	lastUse func() time.Time
	// applicationLeft reports whether something of the pod's other containers is left.
	applicationLeft func() (bool, error)
	// outlivesIdle has a manager go on until the application has ended although nothing is in use:
	// no container can be added to a pod that is terminating, so only this one lets a shell in.
	outlivesIdle bool
	// ended signals dead children to be reaped; nil for a manager that waits for its own.
	ended <-chan os.Signal
}

// announceReady prints the line that the laptop looks for in the container's log. It adds to ready
// what all managers say about themselves.
func announceReady(streams applets.Streams, opts options, ready wire.Ready) error {
	ready.Role, ready.Version, ready.PID = opts.role, opts.version, os.Getpid()
	if err := ready.Print(streams.Out); err != nil {
		return fmt.Errorf("print the ready line: %w", err)
	}

	return nil
}

// waitUntilIdle returns when nothing has been in use for the idle timeout, or ctx ends.
func waitUntilIdle(ctx context.Context, streams applets.Streams, opts options, w work) error {
	// Not at once: what this container was made for starts just now.
	started := time.After(startTime)

	tick := time.NewTicker(lookInterval(opts.idleTimeout))
	defer tick.Stop()

	busy := time.Now()
	var trimmer footprint.Trimmer
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-started:
			footprint.ReduceMemory(w.memoryLimit)
		case <-w.ended:
			podproc.ReapChildren()
		case now := <-tick.C:
			busy = w.lastUsed(busy, now)
			switch used, err := w.inUse(); {
			case err != nil:
				// It is not known to be idle. The error may pass, as a lack of memory does.
				applets.Note(streams.Err, "check what is in use: %v", err)
			case used:
				busy = now
			case now.Sub(busy) >= opts.idleTimeout:
				return nil
			default:
				trimmer.TrimMemory()
			}
		}
	}
}

// lastUsed returns the later of busy and the last use. A use in the future does not count: whoever
// may exec here may write what they like.
func (w work) lastUsed(busy, now time.Time) time.Time {
	if w.lastUse == nil {
		return busy
	}

	if at := w.lastUse(); at.After(busy) && !at.After(now) {
		return at
	}

	return busy
}

// startTime is how long a start takes. After it, the memory that it took is given back.
const startTime = time.Second

// lookInterval returns the time between two looks. A manager may stay that much longer than asked.
func lookInterval(idle time.Duration) time.Duration {
	return max(min(5*time.Second, idle/4), time.Millisecond)
}

// othersAlive reports whether another process lives in the manager's cgroups: an exec'd shell, or
// what one left behind on purpose.
func othersAlive() (bool, error) {
	self := os.Getpid()
	own, err := procfs.ReadCgroups(self)
	if err != nil {
		return false, err
	}

	found, err := podproc.FindMembers(func(pid int, cgroups procfs.Cgroups) bool {
		return pid != self && cgroups.Same(own)
	})
	if err != nil {
		return false, err
	}

	// The target's PID 1 may never wait for those that are dead.
	return slices.ContainsFunc(found, func(p procfs.Stat) bool { return !p.Dead() }), nil
}
