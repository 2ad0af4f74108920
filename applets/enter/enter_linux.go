package enter

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"kdiag/applets"
	"kdiag/applets/internal/pod/credentials"
	"kdiag/applets/internal/pod/lastuse"
	"kdiag/applets/internal/pod/podproc"
	"kdiag/applets/internal/pod/procfs"
	"kdiag/mux/wire"

	"golang.org/x/sys/unix"
)

// A noteFunc prints a note for the user, unless the user wants none.
type noteFunc func(format string, args ...any)

// run becomes the shell. It returns only when that fails.
func run(streams applets.Streams, opts options) error {
	// Namespaces, root and credentials are a thread's. This one is never unlocked: no other
	// goroutine may get it.
	runtime.LockOSThread()

	note := func(format string, args ...any) {
		if !opts.Quiet {
			applets.Note(streams.Err, format, args...)
		}
	}

	lastuse.MarkUsed()

	// Before the join: afterwards paths are the target's.
	program, err := opts.openShell()
	if err != nil {
		return err
	}

	shell, err := writeToMemory(shellName(opts.Session), program)
	if err != nil {
		return err
	}

	programs, err := fetchPrograms(opts)
	if err != nil {
		return err
	}

	if opts.Here {
		return runHere(shell, programs, opts, note)
	}

	own, err := credentials.ReadOwnStatus()
	if err != nil {
		return err
	}

	process, err := findProcess(opts)
	if err != nil {
		return err
	}

	t, err := openTarget(process, own)
	if err != nil {
		return fmt.Errorf("enter process %d: %w", process.PID, err)
	}

	if opts.Node {
		t.standForNode()
	}

	t.noteJail(note)
	reached, err := joinTarget(t, own, note)
	if err != nil {
		return err
	}

	env, err := t.prepareShell(opts, reached, own, note)
	if err != nil {
		return err
	}
	if err := leadSession(opts.Session); err != nil {
		return err
	}
	if err := takeRights(t, own, opts, note); err != nil {
		return err
	}
	if err := leaveOpen(shell, programFD); err != nil {
		return err
	}
	if err := leaveProgramsOpen(programs); err != nil {
		return err
	}

	return executeShell(programFD, opts.shellLine(), env.list)
}

// findProcess returns the process whose container is entered, or the node's first one.
func findProcess(opts options) (procfs.Stat, error) {
	if opts.Node {
		return procfs.ReadStat(1)
	}
	return podproc.FindFirst(opts.Target)
}

// prepareShell goes to the directory in which the shell starts, and returns its environment.
func (t *targetProcess) prepareShell(opts options, reached reach, own procfs.Status, note noteFunc) (environment, error) {
	if t.envErr != nil {
		note("cannot read the target's environment: %v", t.envErr)
		// The shell gets ours, without what the manager was given for itself.
		t.env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GOMAXPROCS=") })
	}

	if t.envCut {
		note("the target's environment is longer than %d bytes; the rest was left out", wire.MaxEnvironment)
		// The last one may be cut, too.
		t.env = t.env[:len(t.env)-1]
	}

	directory := `\w`
	if reached == lookOnly {
		directory = `$PWD`
	}

	env, skipped := shellEnvironment(t.env, opts, directory)
	for _, text := range explainSkipped(skipped, t.env, opts) {
		note("%s", text)
	}

	if reached == lookOnly {
		prepareLookOnly(t, own, &env, note)
		return env, nil
	}

	if reached == chrooted {
		// The shell shows the mounts of the target's process, since its own mount namespace is
		// another one.
		if err := leaveOpen(openProcDirectory(t), processFD); err != nil {
			return env, err
		}
	}

	return env, changeDirectory(t)
}

// leadSession makes the process the leader of a session, the parent of what its children leave
// behind, and marks it as the shell of the session with an ID.
func leadSession(session string) error {
	// The target's PID 1 seldom waits for orphans. execve keeps this attribute
	// (PR_SET_CHILD_SUBREAPER(2const)).
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the reaper of the shell's orphans: %w", err)
	}
	if err := startSession(); err != nil {
		return err
	}

	if session == "" {
		return nil
	}

	return markLeader(session)
}

// startSession makes the process a session leader. Runtimes start an exec'd process as one. If it
// was started by a shell, it keeps that one's terminal; as the leader of a job it could not become
// one.
func startSession() error {
	if _, err := unix.IoctlGetInt(0, unix.TIOCGSID); err == nil {
		return nil
	}

	if _, err := unix.Setsid(); err != nil && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("start a session: %w", err)
	}

	return nil
}
