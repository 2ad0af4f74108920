// Package reference generates kdiag's reference, as a man page and as Markdown, from
// the applets and the help topics. Only tests import it.
package reference

import (
	"strings"

	"kdiag/applets"

	"github.com/urfave/cli/v2"
)

// Source holds what the reference is generated from.
type Source struct {
	Applets []applets.Applet
	Topics  []applets.Topic
}

// The program in a few words, and in a few sentences.
const (
	tagline = "get into running pods"
	about   = "kdiag gets you into running pods: nothing to install in them, no restarts, nothing left running. " +
		"It is a kubectl plugin: kubectl kdiag, kubectl-kdiag and kdiag are the same program. Flags may " +
		"stand anywhere on the command line. Everything after -- is passed to the shell or the command."
)

// commandPage pairs an applet with its full name, such as "kdiag image save".
type commandPage struct {
	applets.Applet
	path string
}

// visibleCommands lists the applets that are not hidden, each before its subcommands.
func (s Source) visibleCommands() []commandPage {
	var found []commandPage
	var add func(list []applets.Applet, path string)
	add = func(list []applets.Applet, path string) {
		for _, a := range list {
			if a.Hidden {
				continue
			}
			found = append(found, commandPage{a, path + " " + a.Name})
			add(a.Applets, path+" "+a.Name)
		}
	}

	add(s.Applets, "kdiag")
	return found
}

// visibleApplets lists the top-level applets that are not hidden.
func (s Source) visibleApplets() []applets.Applet {
	var found []applets.Applet
	for _, a := range s.Applets {
		if !a.Hidden {
			found = append(found, a)
		}
	}
	return found
}

func (c commandPage) usageLine() string {
	return strings.TrimSpace(c.path + " " + c.ArgsUsage)
}

// ownFlags lists the flags without a category. The others stand with their topic.
func (c commandPage) ownFlags() []cli.Flag {
	return applets.CategoryFlags([]applets.Applet{{Flags: c.Flags}}, "")
}

// block holds a part of a topic: a paragraph, or literal lines.
type block struct {
	text    string
	literal bool
}

// splitBlocks splits a topic at empty lines. Indented parts are literal.
func splitBlocks(text string) []block {
	var found []block
	for _, part := range strings.Split(applets.Dedent(text), "\n\n") {
		found = append(found, block{strings.Trim(part, "\n"), strings.HasPrefix(part, " ")})
	}
	return found
}
