// Package reference writes kdiag's reference, as a man page and as Markdown,
// from what help has: the applets and the topics. Only tests import it.
package reference

import (
	"strings"

	"kdiag/applets"

	"github.com/urfave/cli/v2"
)

// Source is what the reference is made of.
type Source struct {
	Applets []applets.Applet
	Topics  []applets.Topic
}

// What the program is, in a line and in a few.
const (
	tagline = "get into running pods"
	about   = "Kdiag gets you into running pods: nothing is installed beforehand, no pod restarts, nothing " +
		"stays behind. It is a kubectl plugin: kubectl kdiag, kubectl-kdiag and kdiag are the same. Flags stand " +
		"anywhere on the line; what follows -- is for the command in the pod, or for the shell."
)

// commandPage is an applet with its name in full, as "kdiag image save".
type commandPage struct {
	applets.Applet
	path string
}

// visibleCommands are those that a user is told of, each before those below it.
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

// visibleApplets are the applets that a user is told of.
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

// ownFlags are the command's own: those of a category are told with their topic.
func (c commandPage) ownFlags() []cli.Flag {
	return applets.CategoryFlags([]applets.Applet{{Flags: c.Flags}}, "")
}

// block is a part of a topic: a paragraph, or lines that are set as they are.
type block struct {
	text    string
	literal bool
}

// splitBlocks reads a topic: what is indented is literal, an empty line parts.
func splitBlocks(text string) []block {
	var found []block
	for _, part := range strings.Split(applets.Dedent(text), "\n\n") {
		found = append(found, block{strings.Trim(part, "\n"), strings.HasPrefix(part, " ")})
	}
	return found
}
