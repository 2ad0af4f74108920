package applets

import (
	"slices"

	"github.com/urfave/cli/v2"
)

// A Topic is a page of help that belongs to no one command.
type Topic struct {
	Name string
	// Summary is one line for the list of topics.
	Summary string
	Text    string
}

// CategoryFlags are the flags of a category that any of some applets has,
// each once. A category is the name of the topic that tells about its flags.
func CategoryFlags(list []Applet, category string) []cli.Flag {
	var found []cli.Flag
	for _, flag := range AllFlags(list) {
		if isVisible(flag) && categoryOf(flag) == category {
			found = append(found, flag)
		}
	}
	return found
}

// AllFlags are the flags of applets and of what is below them. Of those with
// a name in common the first stands for all.
func AllFlags(list []Applet) []cli.Flag {
	seen := map[string]bool{}
	taken := func(name string) bool { return seen[name] }
	var flags []cli.Flag
	var add func([]Applet)
	add = func(list []Applet) {
		for _, a := range list {
			for _, flag := range a.Flags {
				names := flag.Names()
				if slices.ContainsFunc(names, taken) {
					continue
				}
				for _, name := range names {
					seen[name] = true
				}
				flags = append(flags, flag)
			}

			add(a.Applets)
		}
	}

	add(list)
	return flags
}
