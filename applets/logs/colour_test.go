package logs

import (
	"io"
	"strings"
	"testing"
	"time"
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

// TestLineEndsItsSequences: on a terminal a carriage return, colours and sequences that are
// left open never reach a prefix. Elsewhere the text stays as it is.
func TestLineEndsItsSequences(t *testing.T) {
	terminal := newTextFormat(false, painter{terminal: true})
	plain := newTextFormat(false, painter{})
	for text, want := range map[string]string{
		"plain":                    "pod app plain\n",
		"dos\r":                    "pod app dos\n",
		"10%\r100%\r":              "pod app 10%\rpod app 100%\n",
		"\x1b[31mred":              "pod app \x1b[31mred\x1b\\\x1b[0m\n",
		"\x1b]0;title\a":           "pod app \ufffd]0;title\ufffd\x1b\\\x1b[0m\n",
		"\x1b[1mx\ry\x1b[":         "pod app \x1b[1mx\rpod app y\ufffd[\x1b\\\x1b[0m\n",
		"\x1b[2J\x1b[38;2;1;2;3mx": "pod app \ufffd[2J\x1b[38;2;1;2;3mx\x1b\\\x1b[0m\n",
		"a\tb\bc\u009bd é 你":       "pod app a\tb\ufffdc\ufffdd é 你\n",
	} {
		l := &podLine{Pod: "pod", Container: "app", Text: []byte(text)}
		if got, err := terminal(nil, l); string(got) != want || err != nil {
			t.Errorf("on a terminal %q is %q, %v, want %q", text, got, err, want)
		}
		if got, err := plain(nil, l); string(got) != "pod app "+text+"\n" || err != nil {
			t.Errorf("in a file %q is %q, %v, want it as it is", text, got, err)
		}
	}
}

// TestTimesHaveOneWidth: times in JSON sort as text, whatever their digits and their zone.
func TestTimesHaveOneWidth(t *testing.T) {
	second := time.Unix(1_700_000_000, 0)
	east := time.FixedZone("east", 2*60*60)
	for at, want := range map[time.Time]string{
		second: "22:13:20.000000000Z", second.Add(500 * time.Millisecond).In(east): "22:13:20.500000000Z", second.Add(1): "22:13:20.000000001Z",
	} {
		got, err := formatJSON(nil, &podLine{Time: at})
		if want := `{"time":"2023-11-14T` + want + `",`; err != nil || !strings.HasPrefix(string(got), want) {
			t.Errorf("formatJSON = %s, %v, want %s…", got, err, want)
		}
	}
}
