package applets

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func testFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "namespace", Aliases: []string{"n"}},
		&cli.BoolFlag{Name: "stdin", Aliases: []string{"i"}},
		&cli.BoolFlag{Name: "tty", Aliases: []string{"t"}},
		&cli.StringSliceFlag{Name: "as-group"},
		&cli.DurationFlag{Name: "timeout"},
	}
}

func TestSortLine(t *testing.T) {
	words := strings.Fields
	for _, test := range []struct {
		line              string
		flags, args, rest []string
	}{
		{"", nil, nil, nil},
		{"pod -n ns -- ls -l", words("--n=ns"), words("pod"), words("ls -l")},
		{"-n ns pod", words("--n=ns"), words("pod"), nil},
		{"-nns pod", words("--n=ns"), words("pod"), nil},
		{"-n=ns pod", words("--n=ns"), words("pod"), nil},
		{"--namespace=ns pod", words("--namespace=ns"), words("pod"), nil},
		{"--namespace ns pod", words("--namespace=ns"), words("pod"), nil},
		{"-it pod", words("--i --t"), words("pod"), nil},
		{"-itn ns pod", words("--i --t --n=ns"), words("pod"), nil},
		{"pod --stdin=false --as-group a --as-group b", words("--stdin=false --as-group=a --as-group=b"), words("pod"), nil},
		{"pod --", nil, words("pod"), []string{}},
		{"pod -- -- -n x", nil, words("pod"), words("-- -n x")},
		{"-n -- pod", words("--n=--"), words("pod"), nil},
		{"- pod", nil, words("- pod"), nil},
	} {
		got, err := sortLine(testFlags(), words(test.line))
		want := sortedLine{flags: test.flags, args: test.args, rest: test.rest}

		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("sortLine(%q) = %+v, %v, want %+v", test.line, got, err, want)
		}
	}
}

func TestSortLineRefuses(t *testing.T) {
	for line, want := range map[string]string{
		"--namespac ns": "unknown flag --namespac",
		"-x":            "unknown flag -x",
		"-ix":           "unknown flag -x",
		"--n ns":        "unknown flag --n",
		"pod -n":        "flag -n needs a value",
		"--namespace":   "flag --namespace needs a value",
	} {
		_, err := sortLine(testFlags(), strings.Fields(line))
		if err == nil || err.Error() != want || ExitCode(err) != ExitUsage {
			t.Errorf("sortLine(%q): %v (code %d), want %q with code 2", line, err, ExitCode(err), want)
		}
	}
}

func TestSortLineSuggests(t *testing.T) {
	_, err := sortLine(testFlags(), []string{"--namespac=ns"})
	if hints := Hints(err); len(hints) != 1 || hints[0] != "did you mean --namespace?" {
		t.Errorf("hints = %q, want the near flag", hints)
	}
	_, err = sortLine(testFlags(), []string{"--quux"})
	if hints := Hints(err); len(hints) != 0 {
		t.Errorf("hints = %q, want none for a flag that is like no other", hints)
	}
}

func FuzzSortLine(f *testing.F) {
	f.Add("pod -n ns -- ls -l")
	f.Add("-itn ns --as-group=a - --")
	f.Fuzz(func(t *testing.T, line string) {
		words := strings.Split(line, " ")
		got, err := sortLine(testFlags(), words)
		if err != nil {
			return
		}

		// What it sorted it sorts into the same again.
		again := append(append([]string{}, got.flags...), got.args...)
		if got.rest != nil {
			again = append(append(again, "--"), got.rest...)
		}

		for i, word := range again[:len(got.flags)] {
			// One-letter names are given a second dash for package flag.
			if name, value, given := strings.Cut(strings.TrimPrefix(word, "--"), "="); len(name) == 1 {
				if again[i] = "-" + name; given {
					again[i] += "=" + value
				}
			}
		}

		if twice, err := sortLine(testFlags(), again); err != nil || !reflect.DeepEqual(twice, got) {
			t.Errorf("sortLine(%q) = %+v, %v, want %+v", again, twice, err, got)
		}
	})
}

func TestSplitName(t *testing.T) {
	for line, want := range map[string]string{
		"shell pod":          "shell|pod",
		"-n ns shell pod":    "shell|-n ns pod",
		"--namespace=ns ps":  "ps|--namespace=ns",
		"-i shell":           "shell|-i",
		"--unknown x shell":  "x|--unknown shell",
		"-- shell":           "|-- shell",
		"--help":             "|--help",
		"":                   "|",
		"-n shell":           "|-n shell",
		"-nns -t shell -- a": "shell|-nns -t -- a",
	} {
		name, left := SplitName(testFlags(), strings.Fields(line))
		if got := name + "|" + strings.Join(left, " "); got != want {
			t.Errorf("SplitName(%q) = %q, want %q", line, got, want)
		}
	}
}

func TestExitCode(t *testing.T) {
	inner := errors.New("inner")
	for _, test := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{inner, 1},
		{WithHint(inner, "do this"), 1},
		{&ExitError{Code: 7}, 7},
		{WithHint(Usage("bad"), "do that"), 2},
	} {
		if got := ExitCode(test.err); got != test.want {
			t.Errorf("ExitCode(%v) = %d, want %d", test.err, got, test.want)
		}
	}

	err := WithHint(WithHint(inner, "first"), "second")
	if got := strings.Join(Hints(err), "|"); got != "first|second" {
		t.Errorf("Hints = %q, want the innermost first", got)
	}
}
