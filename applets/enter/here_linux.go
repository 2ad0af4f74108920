package enter

import (
	"os"
	"slices"
	"strings"

	"kdiag/applets/internal/pod/podproc"
	"kdiag/applets/internal/pod/procfs"
	"kdiag/mux/wire"

	"golang.org/x/sys/unix"
)

// runHere becomes the shell in the container itself, a copy that hold keeps: an exec has the
// container's root, user, directory and environment already. It returns only when that fails.
func runHere(shell int, programs []int, opts options, note noteFunc) error {
	env, skipped := shellEnvironment(os.Environ(), opts, `\w`)
	for _, text := range explainSkipped(skipped, os.Environ(), opts) {
		note("%s", text)
	}

	command, err := findHeldCommand()
	if err != nil {
		note("$%s is not set: %v", wire.CommandVariable, err)
	}
	if len(command) > 0 {
		command[0] = findProgram(command[0], os.Getenv("PATH"))
		env.set(wire.CommandVariable + "=" + quoteWords(command))
	}

	if err := leadSession(opts.Session); err != nil {
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

// maxHeldCommand bounds what is read of hold's command line, in bytes. A longer one would not fit
// into a variable.
const maxHeldCommand = maxVariable / 2

// findHeldCommand returns the command that the container's hold was told, empty if there is none.
func findHeldCommand() ([]string, error) {
	own, err := procfs.ReadCgroups(os.Getpid())
	if err != nil {
		return nil, err
	}
	found, err := podproc.FindMembers(podproc.SameCgroups(own))
	if err != nil {
		return nil, err
	}

	// The oldest is the container's own; another that looks the same was started by hand.
	slices.SortFunc(found, func(a, b procfs.Stat) int { return int(a.Start) - int(b.Start) })
	for _, process := range found {
		words, cut, err := procfs.ReadCommandStart(process.PID, maxHeldCommand)
		if err == nil && !cut && isHold(words) {
			arguments, err := wire.ParseHoldArguments(words[2:])
			return arguments.Command, err
		}
	}

	return nil, nil
}

// isHold reports whether a command line is that of a copy's hold.
func isHold(words []string) bool {
	return len(words) >= 2 && words[0] == wire.CopyBinary && words[1] == wire.AppletHold
}

// findProgram returns the path that a runtime would execute for the first word of a command: the
// shell has programs of its own by some of these names. It returns the word if there is no such file.
func findProgram(word, path string) string {
	if word == "" || strings.Contains(word, "/") {
		return word
	}

	for directory := range strings.SplitSeq(path, ":") {
		file := directory + "/" + word
		if info, err := os.Stat(file); strings.HasPrefix(file, "/") && err == nil && info.Mode().IsRegular() && unix.Access(file, unix.X_OK) == nil {
			return file
		}
	}
	return word
}
