package applets

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
)

// help is the page that --help prints for an applet.
func help(a Applet, path string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nUsage:\n  %s", a.Summary, path)
	if a.ArgsUsage != "" {
		fmt.Fprintf(&b, " %s", a.ArgsUsage)
	}
	b.WriteString("\n")
	section(&b, "Examples", a.Examples)
	section(&b, "", a.Description)
	if len(a.Applets) > 0 {
		b.WriteString("\nCommands:\n")
		b.WriteString(Summaries(a.Applets))
	}
	var own, shared []cli.Flag
	for _, f := range a.Flags {
		category := ""
		if c, ok := f.(cli.CategorizableFlag); ok {
			category = c.GetCategory()
		}
		if category == ConnectionCategory {
			shared = append(shared, f)
		} else {
			own = append(own, f)
		}
	}
	flagSection(&b, "Flags", own)
	flagSection(&b, ConnectionCategory, shared)
	return b.String()
}

// ConnectionCategory is the category of the flags that every applet with a
// cluster has; help shows them last.
const ConnectionCategory = "Connection flags, as kubectl's"

// Summaries is a table of applets, a line each, without the hidden ones.
func Summaries(list []Applet) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, a := range list {
		if !a.Hidden {
			fmt.Fprintf(w, "  %s\t%s\n", a.Name, a.Summary)
		}
	}
	_ = w.Flush()
	return b.String()
}

func section(b *strings.Builder, title, text string) {
	text = strings.TrimSpace(text)
	if text == "" {
		return
	}
	b.WriteString("\n")
	indent := ""
	if title != "" {
		fmt.Fprintf(b, "%s:\n", title)
		indent = "  "
	}
	for line := range strings.Lines(text + "\n") {
		b.WriteString(indent + strings.TrimLeft(line, "\t"))
	}
}

func flagSection(b *strings.Builder, title string, flags []cli.Flag) {
	var rows strings.Builder
	w := tabwriter.NewWriter(&rows, 0, 0, 2, ' ', 0)
	for _, f := range flags {
		if v, ok := f.(cli.VisibleFlag); ok && !v.IsVisible() {
			continue
		}
		fmt.Fprintf(w, "  %s\t%s\n", flagNames(f), flagUsage(f))
	}
	_ = w.Flush()
	if rows.Len() > 0 {
		fmt.Fprintf(b, "\n%s:\n%s", title, rows.String())
	}
}

// flagNames spells a flag's one-letter name and its first long name.
func flagNames(f cli.Flag) string {
	short, long := "", ""
	for _, name := range f.Names() {
		switch {
		case len(name) == 1 && short == "":
			short = name
		case len(name) > 1 && long == "":
			long = name
		}
	}
	text := "    --" + long
	if short != "" {
		text = "-" + short + ", --" + long
	}
	if takesValue(f) {
		text += "=" + strings.ToUpper(long[strings.LastIndex(long, "-")+1:])
	}
	return text
}

func flagUsage(f cli.Flag) string {
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return ""
	}
	usage := doc.GetUsage()
	if value := doc.GetDefaultText(); value != "" && value != "false" && value != `""` && takesValue(f) {
		usage += " (default " + strings.Trim(value, `"`) + ")"
	}
	return usage
}
