package reference

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"kdiag/applets"

	"github.com/urfave/cli/v2"
)

// ManPage is the man page kdiag(1), in the macros of man(7).
func (s Source) ManPage() string {
	var r roff
	r.writeLine(`.\" Made by "make docs" from the commands' help; edits go there.`)
	// No date: the page is the same until the help changes.
	r.writeLine(`.TH KDIAG 1 "" kdiag "User Commands"`)
	// One blank after a sentence, no hyphenation, no adjusting.
	r.writeLine(".ss 12 0")
	r.writeLine(".nh")
	r.writeLine(".ad l")
	r.writeSection("NAME")
	r.writeText("kdiag - " + tagline)
	r.writeSection("SYNOPSIS")
	r.writeLine(`.B kdiag`)
	r.writeText("COMMAND [flags] [-- arguments]")
	r.writeSection("DESCRIPTION")
	r.writeText(about)
	r.writeSection("COMMANDS")
	for _, c := range s.visibleCommands() {
		r.writeCommand(c)
	}

	for _, t := range s.Topics {
		r.writeSection(strings.ToUpper(strings.ReplaceAll(t.Name, "-", " ")))
		r.writeText(t.Summary + ".")
		for _, b := range splitBlocks(t.Text) {
			r.writeBlock(b)
		}
		r.writeFlags(applets.CategoryFlags(s.visibleApplets(), t.Name))
	}

	r.writeSection("SEE ALSO")
	r.writeText("kubectl(1)")
	return r.String()
}

// roff is a page that is being written.
type roff struct{ strings.Builder }

// writeLine writes a line, characters beyond ASCII by their code points: groff takes
// its input for Latin-1 (groff_char(7)).
func (r *roff) writeLine(text string) {
	for _, c := range text + "\n" {
		if c < utf8.RuneSelf {
			r.WriteRune(c)
		} else {
			fmt.Fprintf(r, `\[u%04X]`, c)
		}
	}
}

// writeText is a text that is filled. Of roff's own characters none has a meaning
// in it (groff_char(7), and groff(7) on control lines).
func (r *roff) writeText(text string) {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`, `"`, `\(dq`).Replace(text)
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, ".") {
			line = `\&` + line
		}
		r.writeLine(strings.TrimRight(line, "\n"))
	}
}

func (r *roff) writeSection(title string) { r.writeLine(".SH " + quoteArgument(title)) }

func (r *roff) writeCommand(c commandPage) {
	r.writeLine(".SS " + quoteArgument(c.usageLine()))
	r.writeText(c.Summary + ".")
	if text := applets.Dedent(c.Description); text != "" {
		r.writeBlock(block{text: text})
	}
	if text := applets.Dedent(c.Examples); text != "" {
		r.writeBlock(block{text: text, literal: true})
	}
	r.writeFlags(c.ownFlags())
}

func (r *roff) writeBlock(b block) {
	r.writeLine(".PP")
	if b.literal {
		r.writeLine(".RS 4")
		r.writeLine(".nf")
	}
	r.writeText(b.text)
	if b.literal {
		r.writeLine(".fi")
		r.writeLine(".RE")
	}
}

func (r *roff) writeFlags(flags []cli.Flag) {
	for _, f := range flags {
		r.writeLine(".TP")
		r.writeLine(".B " + quoteArgument(strings.TrimSpace(applets.FlagNames(f))))
		r.writeText(applets.FlagUsage(f))
	}
}

// quoteArgument is an argument of a macro.
func quoteArgument(text string) string {
	return fmt.Sprintf(`"%s"`, strings.NewReplacer(`\`, `\e`, `"`, `\(dq`, "-", `\-`).Replace(text))
}
