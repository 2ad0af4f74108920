package applets

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
)

// helpWidth is how wide help is: it fits a terminal of 100 columns.
const helpWidth = 100

// ConnectionCategory is the category of the flags that every applet with a
// cluster has.
const ConnectionCategory = "connection"

// FormatHelp is the page that --help prints for an applet. The flags of a category
// are one line, which names the topic with the same name.
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
		b.WriteString(wrapHanging("", fmt.Sprintf("Also %s: %s help %s", names, programName(path), category), helpWidth))
	}

	return b.String()
}

// programName is how the user spells the program itself, of a path such as "kubectl
// kdiag image".
func programName(path string) string {
	if strings.HasPrefix(path, "kubectl ") {
		return "kubectl kdiag"
	}
	return "kdiag"
}

// FlagCategories are those of an applet's visible flags, in their order, without
// the empty one.
func FlagCategories(a Applet) []string {
	var found []string
	for _, flag := range a.Flags {
		if c := categoryOf(flag); isVisible(flag) && c != "" && !slices.Contains(found, c) {
			found = append(found, c)
		}
	}
	return found
}

// someNames spells the first flags of many.
func someNames(flags []cli.Flag) string {
	const most = 3
	var names []string
	for _, flag := range flags[:min(most, len(flags))] {
		name := FlagNames(flag)
		name, _, _ = strings.Cut(strings.TrimSpace(name), "=")
		names = append(names, strings.ReplaceAll(name, ", ", "/"))
	}

	if more := len(flags) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names, ", "), more)
	}

	return strings.Join(names, ", ")
}

// CommandTable is a table of applets, a line each, without the hidden ones.
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

// Dedent takes a text of an applet out of the source's indentation: its lines
// begin with no tab, and it begins and ends with no empty one.
func Dedent(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimRight(strings.TrimLeft(line, "\t"), " \n"))
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n")
}

// FlagTable is a line for each flag, more where its usage is long.
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

// wrapHanging writes a text after its label, in lines up to a width; the lines after
// the first begin below the text.
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

// FlagNames spells a flag's one-letter name and its first long name, with a
// word for its value.
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

// valueName is a word for a flag's value: the one in backquotes in its usage,
// as package flag has it, else the last of its name.
func valueName(f cli.Flag, long string) string {
	if doc, ok := f.(cli.DocGenerationFlag); ok {
		if _, rest, quoted := strings.Cut(doc.GetUsage(), "`"); quoted {
			name, _, _ := strings.Cut(rest, "`")
			return name
		}
	}
	return strings.ToUpper(long[strings.LastIndex(long, "-")+1:])
}

// splitNames are a flag's first one-letter name and its first long one.
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

// FlagUsage says what a flag does, which values it takes and what its default
// is. The values come before a remark on them: "Output format: text or json;
// json prints one event per line".
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
		usage += " (default " + trimDuration(strings.Trim(value, `"`)) + ")"
	}

	return usage
}

// trimDuration takes the zeros off a duration: "1m0s" is a minute.
func trimDuration(value string) string {
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
