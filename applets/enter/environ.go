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

// shellEnvironment returns the shell's environment: the target's variables, but for those that the
// shell or its tools act on and the user did not ask for; kdiag's own; and the options' over both.
// left are the names of those that were not taken, but for the commonest. directory is how the
// prompt shows the working directory.
func shellEnvironment(target []string, opts Options, directory string) (env environment, left []string) {
	env.set("HOME=/")
	env.set("PATH=" + standardPath)

	for _, variable := range target {
		name, _, _ := strings.Cut(variable, "=")
		switch {
		case !isName(name), len(variable) >= maxVariable:
		case !isActedOn(name) || opts.takes(name):
			env.set(variable)
		case !slices.Contains(inMostImages, name) && !slices.Contains(left, name):
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
func (o Options) takes(name string) bool {
	return slices.Contains(o.TargetEnv, name) || slices.Contains(o.TargetEnv, takeAll)
}

// explainLeft is the note on variables of the target's that were not taken.
func explainLeft(left []string) string {
	const most = 5
	more := ""
	if len(left) > most {
		more = fmt.Sprintf(" and %d more", len(left)-most)
		left = left[:most]
	}
	return fmt.Sprintf("the target sets %s%s, on which the shell or its tools act: not taken from it (--target-env=NAME takes one)",
		strings.Join(left, ", "), more)
}

// environment is a list of variables in which each name stands once.
type environment struct{ list []string }

func (e *environment) set(variable string) {
	name, _, ok := strings.Cut(variable, "=")
	if !ok {
		return
	}
	for i, old := range e.list {
		if strings.HasPrefix(old, name+"=") {
			e.list[i] = variable
			return
		}
	}
	e.list = append(e.list, variable)
}

// get returns a variable's value, empty where there is none.
func (e *environment) get(name string) string {
	for _, variable := range e.list {
		if value, ok := strings.CutPrefix(variable, name+"="); ok {
			return value
		}
	}
	return ""
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
