package enter

import (
	"fmt"
	"slices"
	"strings"

	"kdiag/mux/wire"
)

// standardPath is where the shell looks for programs that it does not bring: where the containers'
// images have theirs.
const standardPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// maxVariable bounds a variable of the target's, in bytes: execve takes no longer one
// (MAX_ARG_STRLEN, 32 pages), and would fail for it.
const maxVariable = 128 << 10

// maxVariables bounds how many are taken.
const maxVariables = 4096

// shellEnvironment returns the shell's environment: the target's variables, but for those that the
// shell or its tools act on and the user did not ask for; kdiag's own; and the options' over both.
// left are the names of those that were not taken. directory is how the prompt shows the working
// directory.
func shellEnvironment(target []string, opts options, directory string) (env environment, left []string) {
	env.set("HOME=/")
	env.set("PATH=" + standardPath)

	for _, variable := range target[:min(len(target), maxVariables)] {
		name, _, _ := strings.Cut(variable, "=")
		switch {
		case !isName(name), len(variable) >= maxVariable:
		case !isActedOn(name) || opts.takes(name):
			env.set(variable)
		case !slices.Contains(left, name):
			left = append(left, name)
		}
	}

	// Shells that save their history would write a file into the target.
	env.set("HISTFILE=")
	if !opts.takes("SHELL") {
		env.set("SHELL=/bin/sh")
	}
	if !opts.takes("PS1") || env.get("PS1") == "" {
		env.set("PS1=" + prompt(opts.Prompt, directory))
	}

	for _, variable := range opts.Env {
		env.set(variable)
	}

	return env, left
}

// inMostImages are variables that are not taken and not worth a word: nearly every container has
// them.
var inMostImages = []string{"PATH", "HOME", "HOSTNAME", "PWD", "OLDPWD", "SHLVL", "TERM", "LANG", "LC_ALL", "LC_CTYPE", "USER", "TZ", "SHELL"}

// takeAll is the name by which the user asks for every variable of the target.
const takeAll = "all"

// takes reports whether the user asked for a variable of the target's.
func (o options) takes(name string) bool {
	return slices.Contains(o.TargetEnv, name) || slices.Contains(o.TargetEnv, takeAll)
}

// explainLeft are the notes on variables of the target's that were not taken.
func explainLeft(left, target []string, opts options) []string {
	var notes []string
	if len(target) > maxVariables {
		notes = append(notes, fmt.Sprintf("the container has more than %d variables: the rest were not taken", maxVariables))
	}
	if other := otherDirectories(target); len(other) > 0 && !opts.takes("PATH") {
		notes = append(notes, fmt.Sprintf("the shell doesn't look in %s, which the container's PATH has (--target-env=PATH)", strings.Join(other, ":")))
	}

	left = slices.DeleteFunc(slices.Clone(left), func(name string) bool { return slices.Contains(inMostImages, name) })
	if len(left) == 0 {
		return notes
	}

	const most = 5
	more := ""
	if len(left) > most {
		more = fmt.Sprintf(" and %d more", len(left)-most)
		left = left[:most]
	}

	return append(notes, fmt.Sprintf("not taken from the container: %s%s (they affect the shell; --target-env=NAME takes one)",
		strings.Join(left, ", "), more))
}

// otherDirectories are those of the target's PATH that are not in the shell's, a few at most.
func otherDirectories(target []string) (other []string) {
	const most = 4
	path := environment{}
	for _, variable := range target {
		if strings.HasPrefix(variable, "PATH=") {
			path.set(variable)
		}
	}

	for directory := range strings.SplitSeq(path.get("PATH"), ":") {
		if strings.HasPrefix(directory, "/") && !slices.Contains(strings.Split(standardPath, ":"), directory) && len(other) < most {
			other = append(other, directory)
		}
	}

	return other
}

// environment is a list of variables in which each name stands once.
type environment struct {
	list []string
	at   map[string]int // where in the list a name stands
}

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

// get returns a variable's value, empty where there is none.
func (e *environment) get(name string) string {
	at, there := e.at[name]
	if !there {
		return ""
	}
	return e.list[at][len(name)+1:]
}

// prompt is the PS1 for a text and a directory, which ash expands: \w is the
// working directory, \$ is # for root, else $.
func prompt(text, directory string) string {
	// What ash would expand is not printable in a prompt.
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
