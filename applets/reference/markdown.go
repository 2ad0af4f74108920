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
	for _, c := range s.commands() {
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n", c.path, c.Summary)
		fence(&b, c.usage())
		if text := applets.Dedent(c.Description); text != "" {
			fmt.Fprintf(&b, "\n%s\n", escaped(text))
		}
		if text := applets.Dedent(c.Examples); text != "" {
			fence(&b, text)
		}

		flagList(&b, c.flags())
		for _, category := range applets.Categories(c.Applet) {
			fmt.Fprintf(&b, "\nFurther flags: [%s](#%s).\n", category, category)
		}
	}

	for _, t := range s.Topics {
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n", t.Name, t.Summary)
		for _, part := range blocks(t.Text) {
			if part.literal {
				fence(&b, part.text)
			} else {
				fmt.Fprintf(&b, "\n%s\n", escaped(part.text))
			}
		}
		flagList(&b, applets.CategoryFlags(s.visible(), t.Name))
	}

	return b.String()
}

func fence(b *strings.Builder, text string) { fmt.Fprintf(b, "\n```\n%s\n```\n", text) }

func flagList(b *strings.Builder, flags []cli.Flag) {
	if len(flags) == 0 {
		return
	}
	b.WriteString("\n| flag | |\n|---|---|\n")
	for _, f := range flags {
		usage := strings.ReplaceAll(escaped(applets.FlagUsage(f)), "|", `\|`)
		fmt.Fprintf(b, "| `%s` | %s |\n", strings.TrimSpace(applets.FlagNames(f)), usage)
	}
}

// escaped keeps a text from being read as Markdown.
func escaped(text string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "`", "\\`", "<", "&lt;", "[", `\[`, "]", `\]`).Replace(text)
}
