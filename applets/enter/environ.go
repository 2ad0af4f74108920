package enter

import "strings"

// shellEnv is the target's environment with the options' variables over it.
// PATH stays as it is, missing too: the shell has its own programs. directory is
// how the prompt shows the working directory.
func shellEnv(target []string, opts Options, directory string) environment {
	env := environment{}
	env.set("HOME=/")
	for _, variable := range target {
		env.set(variable)
	}
	// Shells that save their history would write a file into the target.
	env.set("HISTFILE=")
	env.set("PS1=" + prompt(opts.Prompt, directory))
	for _, variable := range opts.Env {
		env.set(variable)
	}
	return env
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

// prompt is the PS1 for a text and a directory, which ash expands: \w is the
// working directory, \$ is # for root, else $.
func prompt(text, directory string) string {
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
	return text + directory + `\$ `
}
