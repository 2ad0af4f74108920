package wire

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	fullManager = ManagerArguments{
		Role: RoleShell, Target: "app", User: "key", Profile: "chroot", Version: "v1", IdleTimeout: time.Minute, Reason: "a --b=c",
	}
	fullEnter = EnterArguments{
		Session: "0123456789abcdef", Target: TargetArguments{ID: "abc", SharedPIDs: true}, Prompt: "web/app", Relay: true, AsTarget: true,
		Here: true, Node: true, Load: true, Programs: []string{"a:1:b"}, ProgramsFrom: "@x",
		Quiet: true, KeepCapabilities: true, TargetEnv: []string{"PATH", "all"}, Env: []string{"A=b=c", "B="}, Shell: []string{"-c", "--", "--quiet"},
	}
	fullHold    = HoldArguments{Deadline: time.Hour, Install: "/x", End: true, Command: []string{"--", "/app", "it's"}}
	fullInspect = InspectArguments{Target: TargetArguments{ID: "abc", SharedPIDs: true}, Connected: true, Environment: true, Interval: time.Second}
)

// TestArguments wants every field read back as it was written.
func TestArguments(t *testing.T) {
	if got, err := ParseManagerArguments(fullManager.Args()[1:]); err != nil || got != fullManager {
		t.Errorf("ParseManagerArguments(%q) = %+v, %v, want %+v", fullManager.Args(), got, err, fullManager)
	}
	if got, err := ParseEnterArguments(fullEnter.Args()[1:]); err != nil || !reflect.DeepEqual(got, fullEnter) {
		t.Errorf("ParseEnterArguments(%q) = %+v, %v, want %+v", fullEnter.Args(), got, err, fullEnter)
	}
	if got, err := ParseHoldArguments(fullHold.Args()[1:]); err != nil || !reflect.DeepEqual(got, fullHold) {
		t.Errorf("ParseHoldArguments(%q) = %+v, %v, want %+v", fullHold.Args(), got, err, fullHold)
	}
	if got, err := ParseInspectArguments(fullInspect.Args()[1:]); err != nil || got != fullInspect {
		t.Errorf("ParseInspectArguments(%q) = %+v, %v, want %+v", fullInspect.Args(), got, err, fullInspect)
	}
}

// TestArgumentsCoverEveryField wants a flag for every field: in the samples above each field
// has a value, and reflect finds those that have none.
func TestArgumentsCoverEveryField(t *testing.T) {
	for _, sample := range []any{fullManager, fullEnter, fullHold, fullInspect} {
		value := reflect.ValueOf(sample)
		for i := range value.NumField() {
			if name := value.Type().Field(i).Name; value.Field(i).IsZero() && name != "Lifeline" {
				t.Errorf("%T: the sample has no %s", sample, name)
			}
		}
	}
}

func TestManagerArgumentsInOrder(t *testing.T) {
	got := ManagerArguments{Role: RoleNet, User: "key", Version: "v1", IdleTimeout: time.Minute}.Args()
	want := []string{"manager", "--role=net", "--user=key", "--version=v1", "--idle-timeout=1m0s"}
	if !slices.Equal(got, want) {
		t.Errorf("Args = %q, want %q", got, want)
	}
}

func TestLifelineArguments(t *testing.T) {
	want := EnterArguments{Session: "0123456789abcdef", Lifeline: true}
	words := want.Args()
	if got, err := ParseEnterArguments(words[1:]); err != nil || !reflect.DeepEqual(got, want) || slices.Contains(words, "--") {
		t.Errorf("ParseEnterArguments(%q) = %+v, %v, want %+v", words, got, err, want)
	}
}

// TestArgumentsOfAnotherVersion wants known flags read, and the first unknown one named.
func TestArgumentsOfAnotherVersion(t *testing.T) {
	got, err := ParseManagerArguments([]string{"--role=net", "--colour=red", "--shade", "--idle-timeout=soon", "--user=me"})
	if err == nil || !strings.Contains(err.Error(), "--colour") || got.Role != RoleNet || got.User != "me" {
		t.Errorf("ParseManagerArguments = %+v, %v, want role and user, and an error for --colour", got, err)
	}
}

func TestArgumentsRefused(t *testing.T) {
	parsers := map[string]func([]string) error{
		"manager": func(words []string) error { _, err := ParseManagerArguments(words); return err },
		"enter":   func(words []string) error { _, err := ParseEnterArguments(words); return err },
		"inspect": func(words []string) error { _, err := ParseInspectArguments(words); return err },
	}

	for line, want := range map[string]string{
		"manager ls":                `"ls"`,
		"manager --role":            "--role needs a value",
		"manager --idle-timeout=x":  "--idle-timeout",
		"manager -- ls":             `"ls"`,
		"enter ls":                  `"ls"`,
		"enter -c":                  `"-c"`,
		"enter --as-target=perhaps": "--as-target",
		"inspect --interval=1":      "--interval",
		"inspect --nothing=1":       "--nothing",
		"inspect -- ls":             `"ls"`,
	} {
		words := strings.Fields(line)
		if err := parsers[words[0]](words[1:]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parse %q: %v, want an error with %s", line, err, want)
		}
	}
}

// FuzzArguments wants arguments that were read and written again to say the same.
func FuzzArguments(f *testing.F) {
	for _, sample := range [][]string{fullEnter.Args(), fullManager.Args(), {"", "--", "--"}, {"", "--env=", "--env"}} {
		f.Add(strings.Join(sample[1:], "\x00"))
	}

	f.Fuzz(func(t *testing.T, text string) {
		words := strings.Split(text, "\x00")
		enter, _ := ParseEnterArguments(words)
		if enter.Lifeline {
			enter.Shell = nil // a lifeline runs none
		}

		again, err := ParseEnterArguments(enter.Args()[1:])
		if len(again.Shell) == 0 {
			again.Shell = enter.Shell // "--" and nothing
		}
		if err != nil || !reflect.DeepEqual(again, enter) {
			t.Errorf("of %q: %+v, but written and read again %+v, %v", words, enter, again, err)
		}

		manager, _ := ParseManagerArguments(words)
		if again, err := ParseManagerArguments(manager.Args()[1:]); err != nil || again != manager {
			t.Errorf("of %q: %+v, but written and read again %+v, %v", words, manager, again, err)
		}
	})
}
