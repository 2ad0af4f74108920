package enter

import (
	"fmt"
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

	if err := setCommand(&env, note); err != nil {
		note("$%s is not set: %v", wire.CommandVariable, err)
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

// setCommand sets the variable with the command that the container would run, if hold knows one.
func setCommand(env *environment, note noteFunc) error {
	pid, held, err := podproc.FindHold()
	command := held.Command
	if err != nil || len(command) == 0 {
		return err
	}

	word := command[0]
	if command[0] = findProgram(word, os.Getenv("PATH")); command[0] == word && !strings.Contains(word, "/") {
		note("the container's PATH has no program %q, so that no runtime can start its command; the shell may have a tool of that name", word)
	}

	variable := wire.CommandVariable + "=" + quoteWords(command)
	if len(variable) >= maxVariable {
		return fmt.Errorf("the command is too long for a variable; to see it: tr '\\0' '\\n' < /proc/%d/cmdline", pid)
	}
	env.set(variable)
	return nil
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
