package env

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"kdiag/mux/wire"
)

// writeTable writes the variables for people. It makes them printable, since the text comes from the
// pod.
func writeTable(w io.Writer, d document) error {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tFROM\tVALUE")
	for _, v := range d.Variables {
		fmt.Fprintf(table, "%s\t%s\t%s\n", wire.Printable(v.Name), wire.Printable(v.describeOrigin()), wire.Printable(v.Value))
	}
	if err := table.Flush(); err != nil {
		return err
	}

	_, err := io.WriteString(w, text.String())
	return err
}

// describeOrigin says where a variable comes from, and what has become of it.
func (v variable) describeOrigin() string {
	text := v.From.describe()
	if v.Changed {
		text += ", changed by the process or a wrapper"
	}
	if v.Repeated {
		text += ", repeated"
	}
	return text
}

// writeAssignments writes the variables for a shell, or as a .env file. It returns notes on those
// that it leaves out. A masked one becomes a comment: nothing that reads the file gets a wrong value.
func writeAssignments(w io.Writer, d document, format string) (notes []string, err error) {
	var text strings.Builder
	var names, values, unlike []string
	for _, v := range d.Variables {
		assignment, alike, ok := v.assignment(format)
		switch {
		case v.Repeated:
		case !isShellName(v.Name):
			names = append(names, v.Name)
		case v.Masked:
			fmt.Fprintf(&text, "# %s is masked; use --show\n", v.Name)
		case !ok:
			values = append(values, v.Name)
		default:
			fmt.Fprintln(&text, assignment)
			if !alike {
				unlike = append(unlike, v.Name)
			}
		}
	}

	if len(names) > 0 {
		notes = append(notes, "left out variables whose names a shell can't have: "+listSome(names))
	}
	if len(values) > 0 {
		notes = append(notes, "left out values with control characters or invalid UTF-8, which a .env file can't have (-o shell can): "+listSome(values))
	}

	if len(unlike) > 0 {
		notes = append(notes, "quoted as docker compose reads it, which other programs may not: "+listSome(unlike))
	}

	_, err = io.WriteString(w, text.String())
	return notes, err
}

// assignment returns the line that sets the variable, if the format can express its value, and whether
// all programs read it alike.
func (v variable) assignment(format string) (line string, alike, ok bool) {
	if format == formatShell {
		return exportLine(v.Name, v.Value), true, true
	}

	quoted, alike, ok := quoteDotenv(v.Value)
	return v.Name + "=" + quoted, alike, ok
}

// isShellName reports whether a POSIX shell can have a variable of that name.
func isShellName(name string) bool {
	for i, b := range []byte(name) {
		letter := b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '_'
		if !letter && (i == 0 || b < '0' || b > '9') {
			return false
		}
	}
	return name != ""
}

// exportLine returns POSIX shell that exports a variable. Its text does nothing to a terminal.
func exportLine(name, value string) string {
	if isShowable(value) {
		return "export " + name + "='" + strings.ReplaceAll(value, "'", `'\''`) + "'"
	}

	// A command substitution drops line ends at the end of its text, so a dot follows them.
	var text strings.Builder
	for _, b := range []byte(value) {
		switch {
		case b == '%':
			text.WriteString("%%")
		case b < ' ' || b > '~' || b == '\'' || b == '\\':
			fmt.Fprintf(&text, `\%03o`, b)
		default:
			text.WriteByte(b)
		}
	}

	return fmt.Sprintf("%s=$(printf '%s.'); export %s=\"${%s%%.}\"", name, text.String(), name, name)
}

// quoteDotenv quotes a value for a .env file. The programs that read those take three forms alike:
// plain words, all but "'" and "\\" in single quotes, and text without "$" and escapes in double quotes.
// For the rest alike is false, and the form is docker compose's. ok is false if there is none.
func quoteDotenv(value string) (quoted string, alike, ok bool) {
	const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:@%+,-"
	switch {
	case !isShowable(value):
		return "", false, false
	case strings.Trim(value, plain) == "":
		return value, true, true
	case !strings.Contains(value, "'") && !strings.Contains(value, `\\`) && !strings.HasSuffix(value, `\`):
		return "'" + value + "'", !strings.Contains(value, "${"), true
	}

	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`)
	escaped := escape.Replace(value)
	return `"` + escaped + `"`, escaped == value, true
}

// isShowable reports whether a terminal shows a text as it is, on as many lines as it has.
func isShowable(text string) bool {
	flat := strings.NewReplacer("\n", "", "\t", "").Replace(text)
	return utf8.ValidString(text) && wire.Printable(flat) == flat
}
