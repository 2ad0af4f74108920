package enter

import (
	"os"
	"strings"

	"kdiag/applets/internal/pod/podproc"
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

	_, held, err := podproc.FindHold()
	if err != nil {
		note("$%s is not set: %v", wire.CommandVariable, err)
	}
	if command := held.Command; len(command) > 0 {
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
