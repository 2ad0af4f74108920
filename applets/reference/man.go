package reference

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"kdiag/applets"

	"github.com/urfave/cli/v2"
)

// Man is the man page kdiag(1), in the macros of man(7).
func (s Source) Man() string {
	var r roff
	r.line(`.\" Made by "make docs" from the commands' help; edits go there.`)
	// No date: the page is the same until the help changes.
	r.line(`.TH KDIAG 1 "" kdiag "User Commands"`)
	// One blank after a sentence, no hyphenation, no adjusting.
	r.line(".ss 12 0")
	r.line(".nh")
	r.line(".ad l")
	r.section("NAME")
	r.text("kdiag - " + tagline)
	r.section("SYNOPSIS")
	r.line(`.B kdiag`)
	r.text("COMMAND [flags] [-- arguments]")
	r.section("DESCRIPTION")
	r.text(about)
	r.section("COMMANDS")
	for _, c := range s.commands() {
		r.command(c)
	}

	for _, t := range s.Topics {
		r.section(strings.ToUpper(strings.ReplaceAll(t.Name, "-", " ")))
		r.text(t.Summary + ".")
		for _, b := range blocks(t.Text) {
			r.block(b)
		}
		r.flags(applets.CategoryFlags(s.visible(), t.Name))
	}

	r.section("SEE ALSO")
	r.text("kubectl(1)")
	return r.String()
}

// roff is a page that is being written.
type roff struct{ strings.Builder }

// line writes a line, characters beyond ASCII by their code points: groff takes
// its input for Latin-1 (groff_char(7)).
func (r *roff) line(text string) {
	for _, c := range text + "\n" {
		if c < utf8.RuneSelf {
			r.WriteRune(c)
		} else {
			fmt.Fprintf(r, `\[u%04X]`, c)
		}
	}
}

// text is a text that is filled. Of roff's own characters none has a meaning
// in it (groff_char(7), and groff(7) on control lines).
func (r *roff) text(text string) {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`, `"`, `\(dq`).Replace(text)
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, ".") {
			line = `\&` + line
		}
		r.line(strings.TrimRight(line, "\n"))
	}
}

func (r *roff) section(title string) { r.line(".SH " + quoted(title)) }

func (r *roff) command(c command) {
	r.line(".SS " + quoted(c.usage()))
	r.text(c.Summary + ".")
	if text := applets.Dedent(c.Description); text != "" {
		r.block(block{text: text})
	}
	if text := applets.Dedent(c.Examples); text != "" {
		r.block(block{text: text, literal: true})
	}
	r.flags(c.flags())
}

func (r *roff) block(b block) {
	r.line(".PP")
	if b.literal {
		r.line(".RS 4")
		r.line(".nf")
	}
	r.text(b.text)
	if b.literal {
		r.line(".fi")
		r.line(".RE")
	}
}

func (r *roff) flags(flags []cli.Flag) {
	for _, f := range flags {
		r.line(".TP")
		r.line(".B " + quoted(strings.TrimSpace(applets.FlagNames(f))))
		r.text(applets.FlagUsage(f))
	}
}

// quoted is an argument of a macro.
func quoted(text string) string {
	return fmt.Sprintf(`"%s"`, strings.NewReplacer(`\`, `\e`, `"`, `\(dq`, "-", `\-`).Replace(text))
}
