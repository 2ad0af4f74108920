package enter

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"kdiag/applets"
	"kdiag/applets/internal/pod/confine"
	"kdiag/applets/internal/pod/credentials"
	"kdiag/applets/internal/pod/lastuse"
	"kdiag/applets/internal/pod/procfs"

	"golang.org/x/sys/unix"
)

// run becomes the shell. It returns only when that fails.
func run(streams applets.Streams, opts options) error {
	// Namespaces, root and credentials are a thread's. This one is never
	// unlocked: no other goroutine may get it.
	runtime.LockOSThread()
	note := func(format string, args ...any) {
		if !opts.Quiet {
			applets.Note(streams.Err, format, args...)
		}
	}

	lastuse.Mark()

	// Before the join: afterwards paths are the target's.
	program, err := opts.openShell()
	if err != nil {
		return err
	}

	shell, err := inMemory(shellName(opts.Session), program)
	if err != nil {
		return err
	}

	own, err := credentials.Own()
	if err != nil {
		return err
	}

	process, err := opts.target.First()
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

	env, err := t.settle(opts, reached, own, note)
	if err != nil {
		return err
	}
	if err := lead(opts.Session); err != nil {
		return err
	}
	if err := takeRights(t, own, opts, note); err != nil {
		return err
	}
	if err := leaveOpen(shell, programFD); err != nil {
		return err
	}

	return execute(programFD, append([]string{shellName(opts.Session), "ash"}, opts.EnterArguments.Shell...), env.list)
}

// settle goes to the directory in which the shell starts, and returns its environment.
func (t *target) settle(opts options, reached rung, own procfs.Status, note func(format string, args ...any)) (environment, error) {
	if t.envErr != nil {
		note("the target's environment cannot be read: %v", t.envErr)
		// Our own, but for what the manager was given for itself.
		t.env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GOMAXPROCS=") })
	}

	if t.envCut {
		note("the target's environment is longer than %d bytes: the rest was not taken", maxEnvironment)
		// The last one may be cut, too.
		t.env = t.env[:len(t.env)-1]
	}

	directory := `\w`
	if reached == lookOnly {
		directory = `$PWD`
	}

	env, left := shellEnvironment(t.env, opts, directory)
	for _, text := range explainLeft(left, t.env, opts) {
		note("%s", text)
	}

	if reached == lookOnly {
		look(t, own, &env, note)
		return env, nil
	}

	if reached == chrooted {
		// The shell shows the mounts of the target's process: its own mount namespace is another.
		process := openProcess(t)
		if err := leaveOpen(process, processFD); err != nil {
			return env, err
		}
	}

	return env, changeDirectory(t)
}

// takeRights gives the thread the rights that the shell is to have: the target's, or kdiag's own
// without those that only the join needed.
func takeRights(t *target, own procfs.Status, opts options, note func(format string, args ...any)) error {
	if !opts.AsTarget {
		if opts.KeepCapabilities {
			return nil
		}
		return giveUp(forTheJoin(opts), own)
	}

	// The runtime's filter allows more to a container with SYS_ADMIN than the target's allows it.
	if own.Caps.Effective.Has(unix.CAP_SYS_ADMIN) {
		if err := confine.WithoutAdmin(); err != nil {
			return fmt.Errorf("--as-target: %w", err)
		}
	}

	missing, err := become(t.status, own)
	if err != nil {
		return applets.WithHint(fmt.Errorf("--as-target: %w", err),
			"without --as-target the shell runs as user %d", own.UIDs.Effective)
	}

	if missing != 0 {
		note("the shell lacks capabilities of the target's: this container has no %s", missing.Names())
	}

	return nil
}

// forTheJoin are the capabilities that a shell needs no more once it is in the target. SYS_PTRACE
// stays for what shows other users' processes (netstat -p, ls -l /proc/PID/exe), but only where
// every process that it reaches is the target's.
func forTheJoin(opts options) procfs.CapSet {
	set := procfs.CapSet(1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_SYS_CHROOT)
	if opts.target.SharedPIDs {
		set |= 1 << unix.CAP_SYS_PTRACE
	}
	return set
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
