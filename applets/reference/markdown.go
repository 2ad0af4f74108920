package reference

import (
	"fmt"
	"strings"

	"kdiag/applets"

	"github.com/urfave/cli/v2"
)

// Markdown is the reference as a page of documentation.
func (s Source) Markdown() string {
	var b strings.Builder
	b.WriteString("<!-- Made by \"make docs\" from the commands' help; edits go there. -->\n")
	fmt.Fprintf(&b, "# kdiag: reference\n\n%s\n", about)
	for _, c := range s.visibleCommands() {
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n", c.path, c.Summary)
		writeFence(&b, c.usageLine())
		if text := applets.Dedent(c.Description); text != "" {
			fmt.Fprintf(&b, "\n%s\n", escapeMarkdown(text))
		}
		if text := applets.Dedent(c.Examples); text != "" {
			writeFence(&b, text)
		}

		writeFlagTable(&b, c.ownFlags())
		for _, category := range applets.FlagCategories(c.Applet) {
			fmt.Fprintf(&b, "\nFurther flags: [%s](#%s).\n", category, category)
		}
	}

	for _, t := range s.Topics {
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n", t.Name, t.Summary)
		for _, part := range splitBlocks(t.Text) {
			if part.literal {
				writeFence(&b, part.text)
			} else {
				fmt.Fprintf(&b, "\n%s\n", escapeMarkdown(part.text))
			}
		}
		writeFlagTable(&b, applets.CategoryFlags(s.visibleApplets(), t.Name))
	}

	return b.String()
}

func writeFence(b *strings.Builder, text string) { fmt.Fprintf(b, "\n```\n%s\n```\n", text) }

func writeFlagTable(b *strings.Builder, flags []cli.Flag) {
	if len(flags) == 0 {
		return
	}
	b.WriteString("\n| flag | |\n|---|---|\n")
	for _, f := range flags {
		usage := strings.ReplaceAll(escapeMarkdown(applets.FlagUsage(f)), "|", `\|`)
		fmt.Fprintf(b, "| `%s` | %s |\n", strings.TrimSpace(applets.FlagNames(f)), usage)
	}
}

// escapeMarkdown keeps a text from being read as Markdown.
func escapeMarkdown(text string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "`", "\\`", "<", "&lt;", "[", `\[`, "]", `\]`).Replace(text)
}
