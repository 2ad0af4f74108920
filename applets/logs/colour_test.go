package logs

import (
	"io"
	"strings"
	"testing"
)

// TestColourOf holds the colours of two names, which are the same in every run
// and of every version; somebody knows a pod by them.
func TestColourOf(t *testing.T) {
	for pod, want := range map[string]string{"web-0": "92", "db-0": "34"} {
		if got := colourOf(pod); got != want {
			t.Errorf("colourOf(%q) = %s, want %s", pod, got, want)
		}
	}
}

func TestColouredByFlag(t *testing.T) {
	for when, want := range map[string]bool{"always": true, "never": false, "auto": false} {
		if got := wantsColour(when, io.Discard); got != want {
			t.Errorf("wantsColour(%q, no terminal) = %t, want %t", when, got, want)
		}
	}
}

// TestNamesArePrintable has names come out printable and the line as it is.
func TestNamesArePrintable(t *testing.T) {
	l := &podLine{Pod: "pod\x1b[2J", Container: "app\u009b", Node: "node\n", Namespace: "ns\x07", Text: []byte("\x1b[31mred\x1b[0m")}
	byTemplate, err := newTemplateFormat("{{.Namespace}} {{.Pod}} {{.Container}} {{.Node}} {{.Line}}")
	if err != nil {
		t.Fatal(err)
	}

	for want, format := range map[string]formatter{
		"pod�[2J app� \x1b[31mred\x1b[0m\n":           newTextFormat(false, painter{}),
		"ns� pod�[2J app� node  \x1b[31mred\x1b[0m\n": byTemplate,
		`{"time":"0001-01-01T00:00:00.000000000Z","namespace":"ns\u0007","pod":"pod\u001b[2J","container":"app\u009b","node":"node\n","stream":"all","line":"\u001b[31mred\u001b[0m"}` + "\n": formatJSON,
	} {
		if got, err := format(nil, l); err != nil || string(got) != want {
			t.Errorf("format = %q, %v, want %q", got, err, want)
		}
	}

	coloured, _ := newTextFormat(false, painter{on: true})(nil, l)
	if want := "\x1b[1;" + colourOf(l.Pod) + "mpod�[2J\x1b[0m \x1b[" + colourOf(l.Pod) + "mapp�\x1b[0m "; !strings.HasPrefix(string(coloured), want) {
		t.Errorf("in colour: %q, want %q before the line", coloured, want)
	}
}
