package enter

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"kdiag/applets"
	"kdiag/applets/internal/confine"
	"kdiag/applets/internal/credentials"

	"golang.org/x/sys/unix"
)

// run becomes the shell. It returns only when that fails.
func run(streams applets.Streams, opts Options) error {
	// Namespaces, root and credentials are a thread's. This one is never
	// unlocked: no other goroutine may get it.
	runtime.LockOSThread()
	note := func(format string, args ...any) {
		fmt.Fprintf(streams.Err, "note: "+format+"\n", args...)
	}
	program, err := opts.Shell()
	if err != nil {
		return err
	}
	shell, err := inMemory(shellName(opts.Session), program)
	if err != nil {
		return err
	}
	process, err := opts.Target.First()
	if err != nil {
		return err
	}
	own, err := credentials.Own()
	if err != nil {
		return err
	}
	t, err := open(process, own)
	if err != nil {
		return fmt.Errorf("enter process %d: %w", process.PID, err)
	}
	reached, err := join(t, own, note)
	if err != nil {
		return err
	}
	if t.envErr != nil {
		note("the target's environment cannot be read: %v", t.envErr)
		// Our own, but for what the manager was given for itself.
		t.env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GOMAXPROCS=") })
	}
	var env environment
	if reached == lookOnly {
		env = shellEnv(t.env, opts, `$PWD`)
		look(t, own, &env, note)
	} else {
		env = shellEnv(t.env, opts, `\w`)
		if err := changeDirectory(t); err != nil {
			return err
		}
	}
	if err := lead(opts.Session); err != nil {
		return err
	}
	// Without SYS_ADMIN there is the runtime's filter, which the container asked for.
	if own.Caps.Effective.Has(unix.CAP_SYS_ADMIN) {
		if err := confine.Threads(); err != nil {
			note("%v", err)
		}
	}
	if opts.AsTarget {
		missing, err := become(t.status, own)
		if err != nil {
			return applets.WithHint(fmt.Errorf("--as-target: %w", err),
				"without --as-target the shell runs as user %d", own.UIDs.Effective)
		}
		if missing != 0 {
			note("the shell lacks capabilities of the target's: this container has no %s", missing.Names())
		}
	}
	return execute(shell, append([]string{shellName(opts.Session), "ash"}, opts.Args...), env.list)
}

// lead makes the process what a session's shell is: the leader of a session,
// the parent of what its children leave behind, and marked.
func lead(session string) error {
	// The target's PID 1 is seldom one that waits for orphans. execve keeps
	// this attribute (PR_SET_CHILD_SUBREAPER(2const)).
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the reaper of the shell's orphans: %w", err)
	}
	if err := startSession(); err != nil {
		return err
	}
	if session == "" {
		return nil
	}
	return mark(session)
}

// startSession makes the process a session leader. Runtimes start an exec'd
// process as one. Where a shell started it, it keeps that one's terminal, and
// as the leader of a job it could not be made one.
func startSession() error {
	if _, err := unix.IoctlGetInt(0, unix.TIOCGSID); err == nil {
		return nil
	}
	if _, err := unix.Setsid(); err != nil && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("start a session: %w", err)
	}
	return nil
}
