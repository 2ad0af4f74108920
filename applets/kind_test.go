package applets

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func choosing() Applet {
	return Applet{
		Name: "choose",
		Args: []Kind{KindTarget, KindPort},
		Flags: []cli.Flag{
			OneOf(&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "text"}, "text", "json"),
			OneOf(&cli.StringSliceFlag{Name: "color"}, "red", "blue"),
			Takes(KindSelector, &cli.StringFlag{Name: "selector", Aliases: []string{"l"}}),
			Takes(KindText, &cli.StringSliceFlag{Name: "outgoing"}),
			Takes(KindPod, &cli.StringFlag{Name: "pod", Hidden: true}),
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}},
			&cli.DurationFlag{Name: "timeout"},
		},
		Run: func(_ context.Context, inv *Invocation) error {
			_, err := fmt.Fprintf(inv.Out, "%v%v%v", inv.Flags.String("output"), inv.Flags.StringSlice("color"), inv.Args)
			return err
		},
	}
}

func TestFixedValues(t *testing.T) {
	for line, want := range map[string]string{
		"":                             "text[][]",
		"-ojson a":                     "json[][a]",
		"--color red --color=blue":     "text[red blue][]",
		"-o yaml":                      "-o yaml: must be text or json",
		"--output=yaml":                "-o yaml: must be text or json",
		"--output=":                    `-o "": must be text or json`,
		"--color red,blue":             "--color red,blue: must be red or blue",
		"--color red --color=green -q": "--color green: must be red or blue",
	} {
		var out strings.Builder
		err := Execute(t.Context(), choosing(), "kdiag", strings.Fields(line), Build{}, Streams{Out: &out, Err: io.Discard})
		got := out.String()
		if err != nil {
			got = err.Error()
			if ExitCode(err) != ExitUsage {
				t.Errorf("choose %s: code %d, want %d", line, ExitCode(err), ExitUsage)
			}
		}

		if got != want {
			t.Errorf("choose %s = %q, want %q", line, got, want)
		}
	}
}

func TestFlagMeaning(t *testing.T) {
	for _, test := range []struct {
		flag cli.Flag
		want Kind
	}{
		{&cli.StringFlag{Name: "a"}, KindUndeclared},
		{&cli.StringSliceFlag{Name: "a"}, KindUndeclared},
		{&cli.DurationFlag{Name: "a"}, KindText},
		{&cli.BoolFlag{Name: "a"}, KindNone},
		{Takes(KindPod, &cli.StringFlag{Name: "a"}), KindPod},
		{Takes(KindFile, &cli.StringSliceFlag{Name: "a"}), KindFile},
		{Takes(KindFile, &cli.BoolFlag{Name: "a"}), KindNone},
		{OneOf(&cli.StringFlag{Name: "a"}, "x"), KindFixed},
	} {
		if got, _ := FlagMeaning(test.flag); got != test.want {
			t.Errorf("FlagMeaning(%T) = %d, want %d", test.flag, got, test.want)
		}
	}
}

func TestJoinChoices(t *testing.T) {
	for want, words := range map[string][]string{"": nil, "a": {"a"}, "a or b": {"a", "b"}, "a, b or c": {"a", "b", "c"}} {
		if got := JoinChoices(words); got != want {
			t.Errorf("JoinChoices(%q) = %q, want %q", words, got, want)
		}
	}
}

func TestNearestWord(t *testing.T) {
	words := []string{"shell", "redir", "image", "version", "help"}
	for given, want := range map[string]string{
		"shel": "shell", "hsell": "shell", "redirect": "redir", "imgae": "image", "versionn": "version", "hlep": "help",
		"quux": "", "": "", "deploy": "",
	} {
		if got := NearestWord(given, words); got != want {
			t.Errorf("NearestWord(%q) = %q, want %q", given, got, want)
		}
	}
}

// TestNames has declared flags give the names that the library would.
func TestNames(t *testing.T) {
	plain := []cli.Flag{
		&cli.StringFlag{Name: "selector", Aliases: []string{"l", "labels"}},
		&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}},
		&cli.StringFlag{Name: "pod"},
	}
	for _, flag := range plain {
		if got, want := Takes(KindText, flag).Names(), flag.Names(); !slices.Equal(got, want) {
			t.Errorf("names = %q, want %q", got, want)
		}
	}
}
