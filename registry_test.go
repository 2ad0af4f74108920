package main

import (
	"regexp"
	"strings"
	"testing"

	"kdiag/applets"
	"kdiag/applets/help"

	"github.com/urfave/cli/v2"
)

// walkApplets calls f for each applet and each one below it.
func walkApplets(list []applets.Applet, path string, f func(a applets.Applet, path string)) {
	for _, a := range list {
		f(a, path+" "+a.Name)
		walkApplets(a.Applets, path+" "+a.Name, f)
	}
}

// TestHelpFits checks that every page of help fits on a screen, and that its examples
// come first.
func TestHelpFits(t *testing.T) {
	const lines, columns = 44, 100
	fits := func(name, text string) {
		if n := strings.Count(text, "\n"); n > lines {
			t.Errorf("help %s: %d lines, want at most %d:\n%s", name, n, lines, text)
		}

		for line := range strings.Lines(text) {
			if n := len([]rune(strings.TrimRight(line, "\n"))); n > columns {
				t.Errorf("help %s: a line of %d columns, want at most %d: %q", name, n, columns, line)
			}
		}
	}

	walkApplets(registry(), "kubectl kdiag", func(a applets.Applet, path string) {
		text := applets.FormatHelp(a, path)
		fits(path, text)
		if a.Hidden {
			return
		}

		if !strings.HasPrefix(text, a.Summary+"\n\nExamples:\n") || strings.Count(applets.Dedent(a.Examples), "\n") < 1 {
			t.Errorf("help %s: want two examples at the beginning:\n%s", path, text)
		}
	})

	fits("", help.FormatOverview("kubectl kdiag", registry()))
	for _, topic := range help.Topics() {
		fits(topic.Name, topic.Text)
	}
}

// TestEveryWordIsDeclared checks that completion knows the kind of each argument and
// of each flag's value.
func TestEveryWordIsDeclared(t *testing.T) {
	walkApplets(registry(), "kdiag", func(a applets.Applet, path string) {
		if (a.Run != nil) != (len(a.Args) > 0) {
			t.Errorf("%s: Args = %v, want the kinds of its arguments", path, a.Args)
		}

		for _, kind := range a.Args {
			if kind == applets.KindUndeclared || kind == applets.KindFixed {
				t.Errorf("%s: an argument of kind %d, want another one", path, kind)
			}
		}

		if a.Hidden {
			return
		}

		for _, flag := range a.Flags {
			checkMeaning(t, path, flag)
		}
	})
}

// choice matches a usage that lists a flag's values: "text or json".
var choice = regexp.MustCompile(`(^|[,;:] )\w+(, \w+)* or \w+$`)

// checkMeaning checks that a flag declares its values instead of listing them in its
// usage.
func checkMeaning(t *testing.T, path string, flag cli.Flag) {
	name := flag.Names()[0]
	kind, fixed := applets.FlagMeaning(flag)
	if kind == applets.KindUndeclared {
		t.Errorf("%s --%s: want its values declared (applets.Takes, applets.OneOf)", path, name)
	}

	text, ok := flag.(cli.DocGenerationFlag)
	if !ok {
		t.Fatalf("%s --%s: has no usage", path, name)
	}

	if choice.MatchString(text.GetUsage()) {
		t.Errorf("%s --%s: %q lists its values, want them declared (applets.OneOf)", path, name, text.GetUsage())
	}
	if value := strings.Trim(text.GetDefaultText(), `"`); kind == applets.KindFixed && value != "" && !strings.Contains(strings.Join(fixed, " "), value) {
		t.Errorf("%s --%s: default %q is not one of %q", path, name, value, fixed)
	}
}

// TestTopics checks that every category of flags is a topic, and that no topic is
// also a command.
func TestTopics(t *testing.T) {
	topics := map[string]bool{}
	for _, topic := range help.Topics() {
		if topics[topic.Name] || topic.Summary == "" || topic.Text == "" {
			t.Errorf("topic %q: used twice, or empty", topic.Name)
		}
		topics[topic.Name] = true
	}

	walkApplets(registry(), "kdiag", func(a applets.Applet, path string) {
		if topics[a.Name] || a.Name == "topics" {
			t.Errorf("%s: a topic has this name", path)
		}
		for _, category := range applets.FlagCategories(a) {
			if !topics[category] {
				t.Errorf("%s: flags of category %q, want a topic of that name", path, category)
			}
		}
	})
}
