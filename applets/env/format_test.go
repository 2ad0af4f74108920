package env

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"kdiag/mux/wire"
)

// hardValues are hard to quote.
var hardValues = []string{
	"", "plain", "a b", "it's", `back\slash \n`, "line\nbreak\n\n", "tab\t", `"quoted" $HOME ${HOME} $(id) ` + "`id`", "%s %d %%", "'", "''",
	"\x1b]0;title\x07", "\xff\xfe", "ü – 漢字", "\u202eright to left", "\r\n", "#no comment", "a=b", " leading and trailing ", "!history", "\x7f", "\n", "percent\x01%\\'",
}

// TestShellReadsBack has a POSIX shell read the lines, and wants every byte of the values back.
func TestShellReadsBack(t *testing.T) {
	var d document
	var script strings.Builder
	for i, value := range hardValues {
		name := fmt.Sprintf("V%d", i)
		d.Variables = append(d.Variables, variable{Name: name, Value: value})
		fmt.Fprintf(&script, "printf '%%s' \"$%s\" && printf '\\0'\n", name)
	}

	var text strings.Builder
	notes, err := writeAssignments(&text, d, formatShell)
	if err != nil || len(notes) > 0 {
		t.Fatalf("writeAssignments = %q, %v", notes, err)
	}
	if shown := strings.ReplaceAll(text.String(), "\n", ""); wire.Printable(strings.ReplaceAll(shown, "\t", "")) != strings.ReplaceAll(shown, "\t", "") {
		t.Errorf("the lines are not printable: %q", text.String())
	}

	out, err := exec.Command("sh", "-c", text.String()+script.String()).CombinedOutput()
	if want := strings.Join(hardValues, "\x00") + "\x00"; err != nil || string(out) != want {
		t.Errorf("sh read %q, %v, want %q", out, err, want)
	}
}

// TestQuoteDotenv has what docker compose reads, and says whether Node's and Python's dotenv and
// godotenv read the same. All four were tried.
func TestQuoteDotenv(t *testing.T) {
	for value, c := range map[string]struct {
		want  string
		alike bool
	}{
		"":                    {"", true},
		"http://h:80/a":       {"http://h:80/a", true},
		"a b":                 {"'a b'", true},
		"a#b $X \"q\" `id`":   {"'a#b $X \"q\" `id`'", true},
		"two\nlines\t.":       {"'two\nlines\t.'", true},
		`back\slash \n`:       {`'back\slash \n'`, true},
		"it's":                {`"it's"`, true},
		"it's\non two":        {"\"it's\non two\"", true},
		"${X}":                {"'${X}'", false},
		"it's $X":             {`"it's \$X"`, false},
		`it's "x"`:            {`"it's \"x\""`, false},
		`two\\ends`:           {`"two\\\\ends"`, false},
		`ends with a space \`: {`"ends with a space \\"`, false},
	} {
		if got, alike, ok := quoteDotenv(value); !ok || got != c.want || alike != c.alike {
			t.Errorf("quoteDotenv(%q) = %s, alike %t, %t, want %s, %t", value, got, alike, ok, c.want, c.alike)
		}
	}
	for _, value := range []string{"\x1b[2J", "\xff", "\r", "\u202e"} {
		if got, _, ok := quoteDotenv(value); ok {
			t.Errorf("quoteDotenv(%q) = %s, want none", value, got)
		}
	}
}

// TestAssignmentsLeaveOut says what it leaves out, and never writes a mask as a value.
func TestAssignmentsLeaveOut(t *testing.T) {
	d := document{Variables: []variable{
		{Name: "A", Value: "1"}, {Name: "A", Value: "2", Repeated: true}, {Name: "a.b", Value: "x"}, {Name: "1A", Value: "x"}, {Name: "B\nC", Value: "x", Masked: true},
		{Name: "TOKEN", Value: mask, Masked: true}, {Name: "ESC", Value: "\x1b"},
		{Name: "BOTH", Value: "'\""},
	}}
	for format, want := range map[string]string{
		formatShell:  "export A='1'\n# TOKEN is masked; use --show\nESC=$(printf '\\033.'); export ESC=\"${ESC%.}\"\nexport BOTH=''\\''\"'\n",
		formatDotenv: "A=1\n# TOKEN is masked; use --show\nBOTH=\"'\\\"\"\n",
	} {
		var text strings.Builder
		notes, err := writeAssignments(&text, d, format)
		said := strings.Join(notes, "\n")
		if err != nil || text.String() != want || !strings.Contains(said, "can't have: a.b, 1A, B\nC") || strings.Contains(said, "ESC") != (format == formatDotenv) || strings.Contains(said, "compose reads it, which other programs may not: BOTH") != (format == formatDotenv) {
			t.Errorf("%s: %q, notes %q, %v, want %q", format, text.String(), notes, err, want)
		}
	}
}
