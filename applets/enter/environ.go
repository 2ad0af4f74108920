package enter

import (
	"fmt"
	"slices"
	"strings"

	"kdiag/mux/wire"
)

// standardPath is where the shell looks for programs that it does not bring. Images have theirs
// there.
const standardPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// maxVariable bounds a variable of the target's, in bytes: execve fails for a longer one
// (MAX_ARG_STRLEN, 32 pages).
const maxVariable = 128 << 10

// maxVariables bounds how many variables are taken.
const maxVariables = 4096

// shellEnvironment returns the shell's environment: the target's variables, without those that the
// shell or its tools act on and the user did not ask for; kdiag's own; and the options' over both.
// It returns the names that it skipped, too. directory is how the prompt shows the working
// directory.
func shellEnvironment(target []string, opts options, directory string) (env environment, skipped []string) {
	env.set("HOME=/")
	env.set("PATH=" + standardPath)

	for _, variable := range target[:min(len(target), maxVariables)] {
		name, _, _ := strings.Cut(variable, "=")
		switch {
		case !isVariableName(name), len(variable) >= maxVariable:
		case !isActedOn(name) || opts.takesVariable(name):
			env.set(variable)
		case !slices.Contains(skipped, name):
			skipped = append(skipped, name)
		}
	}

	// A shell that saves its history would write a file into the target.
	env.set("HISTFILE=")

	if !opts.takesVariable("SHELL") {
		env.set("SHELL=/bin/sh")
	}
	if !opts.takesVariable("PS1") || env.get("PS1") == "" {
		env.set("PS1=" + formatPrompt(opts.Prompt, directory))
	}

	for _, variable := range opts.Env {
		env.set(variable)
	}

	return env, skipped
}

// inMostImages lists variables that are skipped without a note: nearly every container has them.
var inMostImages = []string{"PATH", "HOME", "HOSTNAME", "PWD", "OLDPWD", "SHLVL", "TERM", "LANG", "LC_ALL", "LC_CTYPE", "USER", "TZ", "SHELL"}

// allVariables is what the user names to take every variable of the target.
const allVariables = "all"

// takesVariable reports whether the user asked for a variable of the target's.
func (o options) takesVariable(name string) bool {
	all := slices.Contains(o.TargetEnv, allVariables) && !slices.Contains(ofTerminal, name)
	return all || slices.Contains(o.TargetEnv, name)
}

// explainSkipped returns the notes on variables of the target's that the shell does not get.
func explainSkipped(skipped, target []string, opts options) []string {
	var notes []string
	if len(target) > maxVariables {
		notes = append(notes, fmt.Sprintf("the container has more than %d variables; the rest were left out", maxVariables))
	}
	if other := listOtherDirectories(target); len(other) > 0 && !opts.takesVariable("PATH") {
		notes = append(notes, fmt.Sprintf("the shell doesn't search %s, which is in the container's PATH (use --target-env=PATH)", strings.Join(other, ":")))
	}

	skipped = slices.DeleteFunc(slices.Clone(skipped), func(name string) bool { return slices.Contains(inMostImages, name) })
	if len(skipped) == 0 {
		return notes
	}

	const limit = 5
	more := ""
	if len(skipped) > limit {
		more = fmt.Sprintf(" and %d more", len(skipped)-limit)
		skipped = skipped[:limit]
	}

	return append(notes, fmt.Sprintf("left out variables that affect the shell: %s%s (--target-env=NAME keeps one)",
		strings.Join(skipped, ", "), more))
}

// listOtherDirectories returns the directories of the target's PATH that are not in the shell's, a
// few at most.
func listOtherDirectories(target []string) (other []string) {
	const limit = 4
	path := environment{}
	for _, variable := range target {
		if strings.HasPrefix(variable, "PATH=") {
			path.set(variable)
		}
	}

	for directory := range strings.SplitSeq(path.get("PATH"), ":") {
		if strings.HasPrefix(directory, "/") && !slices.Contains(strings.Split(standardPath, ":"), directory) && len(other) < limit {
			other = append(other, directory)
		}
	}

	return other
}

// An environment lists variables, each name once.
type environment struct {
	list []string
	at   map[string]int // where in the list a name is
}

// set adds a variable, NAME=VALUE, or replaces the one with that name.
func (e *environment) set(variable string) {
	name, _, ok := strings.Cut(variable, "=")
	if !ok {
		return
	}
	if e.at == nil {
		e.at = map[string]int{}
	}

	if at, there := e.at[name]; there {
		e.list[at] = variable
		return
	}

	e.at[name] = len(e.list)
	e.list = append(e.list, variable)
}

// get returns a variable's value, empty if there is none.
func (e *environment) get(name string) string {
	at, there := e.at[name]
	if !there {
		return ""
	}

	return e.list[at][len(name)+1:]
}

// formatPrompt returns the PS1 for a text and a directory, which ash expands: \w is the working
// directory, \$ is # for root, else $.
func formatPrompt(text, directory string) string {
	// In a prompt, what ash would expand is as dangerous as what is not printable.
	text = strings.Map(func(r rune) rune {
		if strings.ContainsRune("\\$`", r) {
			return wire.Substitute
		}
		return r
	}, wire.Printable(text))

	if text != "" {
		text += ":"
	}

	return text + directory + `\$ `
}
