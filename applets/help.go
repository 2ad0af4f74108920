package applets

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
)

// helpWidth is the number of columns that help is wrapped at.
const helpWidth = 100

// ConnectionCategory groups the flags of every applet that talks to a cluster.
const ConnectionCategory = "connection"

// FormatHelp formats the page that --help prints for an applet. Flags with a
// category take one line together, which names the help topic that lists them.
func FormatHelp(a Applet, path string) string {
	var b strings.Builder
	b.WriteString(a.Summary + "\n")
	writeSection(&b, "Examples", a.Examples)

	usage := path
	if a.ArgsUsage != "" {
		usage += " " + a.ArgsUsage
	}
	fmt.Fprintf(&b, "\nUsage:\n%s", wrapHanging("  ", usage, helpWidth))
	writeSection(&b, "", a.Description)

	if len(a.Applets) > 0 {
		fmt.Fprintf(&b, "\nCommands:\n%s", CommandTable(a.Applets))
	}
	if own := CategoryFlags([]Applet{{Flags: a.Flags}}, ""); len(own) > 0 {
		fmt.Fprintf(&b, "\nFlags:\n%s", FlagTable(own))
	}

	for i, category := range FlagCategories(a) {
		if i == 0 {
			b.WriteString("\n")
		}
		names := someNames(CategoryFlags([]Applet{{Flags: a.Flags}}, category))
		b.WriteString(wrapHanging("", fmt.Sprintf("Run '%s help %s' for %s.", programName(path), category, names), helpWidth))
	}

	return b.String()
}

// programName returns the program's part of a path such as "kubectl kdiag image".
func programName(path string) string {
	if strings.HasPrefix(path, "kubectl ") {
		return "kubectl kdiag"
	}
	return "kdiag"
}

// FlagCategories lists the categories of an applet's visible flags, in order and
// without the empty one.
func FlagCategories(a Applet) []string {
	var found []string
	for _, flag := range a.Flags {
		if c := categoryOf(flag); isVisible(flag) && c != "" && !slices.Contains(found, c) {
			found = append(found, c)
		}
	}
	return found
}

// someNames lists the first few of many flags.
func someNames(flags []cli.Flag) string {
	const most = 3
	var names []string
	for _, flag := range flags[:min(most, len(flags))] {
		name := FlagNames(flag)
		name, _, _ = strings.Cut(strings.TrimSpace(name), "=")
		names = append(names, strings.ReplaceAll(name, ", ", "/"))
	}

	if more := len(flags) - most; more > 0 {
		return fmt.Sprintf("%s and %d more flags", strings.Join(names, ", "), more)
	}

	return strings.Join(names, ", ")
}

// CommandTable formats a table of applets, one line each, without the hidden ones.
func CommandTable(list []Applet) string {
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

func writeSection(b *strings.Builder, title, text string) {
	text = Dedent(text)
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
		b.WriteString(indent + line)
	}
}

// Dedent removes the source code's indentation from a text: leading tabs on each
// line, and empty lines at both ends.
func Dedent(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimRight(strings.TrimLeft(line, "\t"), " \n"))
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n")
}

// FlagTable formats a table of flags, wrapping long usage texts.
func FlagTable(flags []cli.Flag) string {
	column := 0
	for _, flag := range flags {
		column = max(column, len(FlagNames(flag)))
	}

	var b strings.Builder
	for _, flag := range flags {
		b.WriteString(wrapHanging(fmt.Sprintf("  %-*s  ", column, FlagNames(flag)), FlagUsage(flag), helpWidth))
	}
	return b.String()
}

// wrapHanging wraps a text that follows a label on its first line. Later lines are
// indented to stand below the text.
func wrapHanging(label, text string, width int) string {
	var b strings.Builder
	line, indent := label, strings.Repeat(" ", len(label))
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
			line += word
		case len([]rune(line))+1+len([]rune(word)) > width:
			b.WriteString(line + "\n")
			line = indent + word
		default:
			line += " " + word
		}
	}

	return b.String() + line + "\n"
}

// FlagNames formats a flag's one-letter name and first long name, with a
// placeholder for its value.
func FlagNames(f cli.Flag) string {
	short, long := splitNames(f)
	text := "    --" + long
	if short != "" {
		text = "-" + short + ", --" + long
	}
	if takesValue(f) {
		text += "=" + valueName(f, long)
	}
	return text
}

// valueName returns the placeholder for a flag's value: the word in backquotes in
// its usage text, as in package flag, or else the last word of its name.
func valueName(f cli.Flag, long string) string {
	if doc, ok := f.(cli.DocGenerationFlag); ok {
		if _, rest, quoted := strings.Cut(doc.GetUsage(), "`"); quoted {
			name, _, _ := strings.Cut(rest, "`")
			return name
		}
	}
	return strings.ToUpper(long[strings.LastIndex(long, "-")+1:])
}

// splitNames returns a flag's first one-letter name and its first long one.
func splitNames(f cli.Flag) (short, long string) {
	for _, name := range f.Names() {
		switch {
		case len(name) == 1 && short == "":
			short = name
		case len(name) > 1 && long == "":
			long = name
		}
	}
	return short, long
}

// FlagUsage describes a flag, the values it takes and its default. It puts the
// values before a remark that follows a semicolon in the usage text: "Output
// format: text or json; json also asks the cluster".
func FlagUsage(f cli.Flag) string {
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return ""
	}

	usage := strings.ReplaceAll(doc.GetUsage(), "`", "")
	if _, fixed := FlagMeaning(f); len(fixed) > 0 {
		what, remark, remarked := strings.Cut(usage, "; ")
		usage = what + ": " + JoinChoices(fixed)
		if remarked {
			usage += "; " + remark
		}
	}

	if value := doc.GetDefaultText(); !slices.Contains([]string{"", "false", `""`, "0", "0s"}, value) && takesValue(f) {
		usage += " (default " + TrimDuration(strings.Trim(value, `"`)) + ")"
	}

	return usage
}

// TrimDuration removes trailing zero units from a duration: "1m0s" becomes "1m".
func TrimDuration(value string) string {
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(value, zero) {
			value = value[:len(value)-2]
		}
	}
	return value
}

func isVisible(f cli.Flag) bool {
	v, ok := f.(cli.VisibleFlag)
	return !ok || v.IsVisible()
}

func categoryOf(f cli.Flag) string {
	if c, ok := f.(cli.CategorizableFlag); ok {
		return c.GetCategory()
	}
	return ""
}
