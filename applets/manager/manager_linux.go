package manager

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/pod/footprint"
	"kdiag/applets/internal/pod/lastuse"
	"kdiag/applets/internal/pod/lockdown"
	"kdiag/applets/internal/pod/procfs"
	"kdiag/mux/wire"

	"golang.org/x/sys/unix"
)

// run does a manager's work until there has been none for the idle timeout, or
// ctx ends.
func run(ctx context.Context, streams applets.Streams, opts options) error {
	if opts.role == wire.RoleNet {
		return runNet(ctx, streams, opts)
	}
	if err := lockdown.Keep(0, 0); err != nil {
		return err
	}

	// As PID 1 of its own PID namespace it is the parent of what shells leave.
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	defer signal.Stop(ended)

	if err := announce(streams, opts, wire.Ready{}); err != nil {
		return err
	}

	return wait(ctx, streams, opts, work{limit: footprint.Waiting, inUse: othersLive, lastUse: lastuse.Since, ended: ended})
}

// work is what a manager waits beside.
type work struct {
	limit int64 // of memory, in bytes
	inUse func() (bool, error)
	// lastUse is when something last was, if it is over by now; nil where inUse tells enough.
	lastUse func() time.Time
	// ended tells of dead children to be reaped; nil for a manager that waits
	// for its own.
	ended <-chan os.Signal
}

// announce prints the line that the laptop looks for in the container's log. It
// adds to ready what all managers say of themselves.
func announce(streams applets.Streams, opts options, ready wire.Ready) error {
	ready.Role, ready.Version, ready.PID = opts.role, opts.version, os.Getpid()
	if err := ready.Print(streams.Out); err != nil {
		return fmt.Errorf("print that the manager is ready: %w", err)
	}
	return nil
}

// wait returns when nothing has been in use for the idle timeout, or ctx ends.
func wait(ctx context.Context, streams applets.Streams, opts options, w work) error {
	// Not at once: what this container was made for starts just now.
	settled := time.After(settleAfter)

	tick := time.NewTicker(interval(opts.idleTimeout))
	defer tick.Stop()
	busy := time.Now()
	var trimmer footprint.Trimmer
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-settled:
			footprint.Reduce(w.limit)
		case <-w.ended:
			reap()
		case now := <-tick.C:
			busy = w.lastUsed(busy, now)
			switch used, err := w.inUse(); {
			case err != nil:
				// Not known to be idle. It may pass, as a lack of memory does.
				applets.Note(streams.Err, "look for what is in use: %v", err)
			case used:
				busy = now
			case now.Sub(busy) >= opts.idleTimeout:
				return nil
			default:
				trimmer.Trim()
			}
		}
	}
}

// lastUsed is the later of busy and the last use. One that is yet to come is none: whoever may exec
// here may write what they like.
func (w work) lastUsed(busy, now time.Time) time.Time {
	if w.lastUse == nil {
		return busy
	}
	if at := w.lastUse(); at.After(busy) && !at.After(now) {
		return at
	}
	return busy
}

// settleAfter is when a start is over, and what it took of memory goes back.
const settleAfter = time.Second

// interval is the time between two looks, for which the manager may stay
// longer than asked.
func interval(idle time.Duration) time.Duration {
	return max(min(5*time.Second, idle/4), time.Millisecond)
}

// othersLive reports whether another process lives in the manager's cgroup: an
// exec'd shell, or what one left behind on purpose.
func othersLive() (bool, error) {
	self := os.Getpid()
	own, err := procfs.ReadCgroups(self)
	if err != nil {
		return false, err
	}

	pids, err := procfs.List()
	if err != nil {
		return false, err
	}

	for _, pid := range pids {
		if pid == self {
			continue
		}

		// A process that ends meanwhile fails here, and lives no longer.
		groups, err := procfs.ReadCgroups(pid)
		if err != nil || !groups.Same(own) {
			continue
		}
		// The target's PID 1 may leave what is dead unreaped for good.
		if stat, err := procfs.ReadStat(pid); err == nil && !stat.Dead() {
			return true, nil
		}
	}

	return false, nil
}

// reap waits for dead children, of which a shell manager starts none itself.
func reap() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if err != unix.EINTR && pid <= 0 {
			return
		}
	}
}
