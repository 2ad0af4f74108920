// Package help implements "kdiag help", which shows the help of commands and of
// topics that concern several commands.
package help

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"kdiag/applets"
)

// Applet declares "kdiag help". registry returns all applets, including this one.
func Applet(registry func() []applets.Applet) applets.Applet {
	return applets.Applet{
		Name:      "help",
		Summary:   "Show help for a command or topic",
		ArgsUsage: "[COMMAND | TOPIC]",
		Args:      []applets.Kind{applets.KindTopic, applets.KindNone},
		Examples: `
			kubectl kdiag help shell         # a command, like shell --help
			kubectl kdiag help exit-codes    # a topic; without a name, lists commands and topics
		`,
		Run: func(_ context.Context, inv *applets.Invocation) error {
			program := strings.TrimSuffix(inv.Path, " help")
			text, err := findPage(program, registry(), inv.Args)
			fmt.Fprint(inv.Out, text)
			return err
		},
	}
}

// findPage returns the page for the arguments of help.
func findPage(program string, list []applets.Applet, names []string) (string, error) {
	if len(names) == 0 {
		return FormatOverview(program, list), nil
	}
	if slices.Equal(names, []string{"topics"}) {
		return topicTable(), nil
	}

	path := program
	for i, name := range names {
		at := slices.IndexFunc(list, func(a applets.Applet) bool { return a.HasName(name) })
		switch {
		case at < 0 && i == 0 && len(names) == 1:
			return formatTopic(program, list, name)
		case at < 0:
			return "", unknownName(fmt.Errorf("unknown command %q for %q", name, path), name, applets.VisibleNames(list), path)
		}

		path += " " + list[at].Name
		if i == len(names)-1 {
			return applets.FormatHelp(list[at], path), nil
		}

		list = list[at].Applets
	}

	return "", nil
}

// FormatOverview formats the page for the program itself.
func FormatOverview(program string, list []applets.Applet) string {
	return "kdiag gets you into running pods: nothing to install in them, no restarts, nothing left running.\n\n" +
		"Usage:\n  " + program + " COMMAND [flags] [-- arguments]\n\n" +
		"Commands:\n" + applets.CommandTable(list) + "\n" +
		"Help topics:\n" + topicTable() + "\n" +
		"Run '" + program + " COMMAND --help' or '" + program + " help TOPIC' for details.\n"
}

func topicTable() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, t := range Topics() {
		fmt.Fprintf(w, "  %s\t%s\n", t.Name, t.Summary)
	}
	_ = w.Flush()
	return b.String()
}

func formatTopic(program string, list []applets.Applet, name string) (string, error) {
	topics := Topics()
	at := slices.IndexFunc(topics, func(t applets.Topic) bool { return t.Name == name })
	if at < 0 {
		return "", unknownName(fmt.Errorf("unknown command or topic %q", name), name, PageNames(list), program)
	}
	text := topics[at].Summary + "\n\n" + applets.Dedent(topics[at].Text) + "\n"
	if flags := applets.CategoryFlags(list, name); len(flags) > 0 {
		text += "\nFlags:\n" + applets.FlagTable(flags)
	}
	return text, nil
}

// PageNames lists the names of all pages: those of the commands and of the topics.
func PageNames(list []applets.Applet) []string {
	names := applets.VisibleNames(list)
	for _, t := range Topics() {
		names = append(names, t.Name)
	}
	return append(names, "topics")
}

// unknownName returns the error for a name without a page.
func unknownName(err error, name string, names []string, path string) error {
	err = &applets.ExitError{Code: applets.ExitUnknown, Err: err}
	return applets.WithHint(applets.DidYouMean(err, name, names), "run '%s --help' for a list of commands", path)
}
