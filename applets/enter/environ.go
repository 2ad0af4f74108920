package enter

import (
	"slices"
	"strings"
)

// shellEnv is the target's environment with the options' variables over it.
// PATH stays as it is, missing too: the shell has its own programs.
func shellEnv(target []string, opts Options) []string {
	env := environment{}
	env.set("HOME=/")
	// Of busybox builds that save the history of commands, it would write a
	// file into the target.
	env.set("HISTFILE=")
	for _, variable := range target {
		if !strings.HasPrefix(variable, "HISTFILE=") {
			env.set(variable)
		}
	}
	env.set("PS1=" + prompt(opts.Prompt))
	for _, variable := range opts.Env {
		env.set(variable)
	}
	return env.list
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

// prompt is the PS1 for a text: ash shows \w as the working directory and \$
// as # for root, else $.
func prompt(text string) string {
	// What ash would expand, and what would move the cursor, is shown as _.
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || strings.ContainsRune("\\$`", r) {
			return '_'
		}
		return r
	}, text)
	if text != "" {
		text += ":"
	}
	return text + `\w\$ `
}

// without is the list without one name.
func (e environment) without(name string) []string {
	return slices.DeleteFunc(e.list, func(v string) bool { return strings.HasPrefix(v, name+"=") })
}
