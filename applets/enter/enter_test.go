package enter

import (
	"os"
	"slices"
	"strings"
	"testing"

	"kdiag/mux/wire"
)

func TestCheck(t *testing.T) {
	cases := []struct {
		opts options
		// want is part of the error, "" for none.
		want string
	}{
		{options{}, ""},
		{newOptions(wire.EnterArguments{Session: "0123456789abcdef", Target: wire.TargetArguments{ID: strings.Repeat("a", 64), SharedPIDs: true}, Env: []string{"A=b=c", "B="}}), ""},
		{newOptions(wire.EnterArguments{Session: "0123456"}), "--session"},
		{newOptions(wire.EnterArguments{Session: "0123456789ABCDEF"}), "--session"},
		{newOptions(wire.EnterArguments{Session: strings.Repeat("a", 65)}), "--session"},
		{newOptions(wire.EnterArguments{Target: wire.TargetArguments{ID: "abc"}}), "--container-id"},
		{newOptions(wire.EnterArguments{Target: wire.TargetArguments{ID: "../../../../etc"}}), "--container-id"},
		{newOptions(wire.EnterArguments{Target: wire.TargetArguments{SharedPIDs: true}}), "--shared-pids"},
		{newOptions(wire.EnterArguments{Env: []string{"A"}}), "--env"},
		{newOptions(wire.EnterArguments{Env: []string{"=b"}}), "--env"},
	}

	for _, c := range cases {
		err := c.opts.checkFlags()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("checkFlags(%+v) = %v, want an error about %q", c.opts, err, c.want)
		}
	}
}

func TestShellEnvironment(t *testing.T) {
	base := []string{"HOME=/", "PATH=" + standardPath}
	end := []string{"HISTFILE=", "SHELL=/bin/sh", `PS1=\w\$ `}
	long := "LONG=" + strings.Repeat("x", maxVariable)
	cases := []struct {
		name   string
		target []string
		opts   options
		want   []string
		left   []string
	}{
		{"empty", nil, options{}, slices.Concat(base, end), nil},
		{"data", []string{"A=b=c", "no variable", "B=", "_x1=$(reboot)"}, options{},
			slices.Concat(base, []string{"A=b=c", "B=", "_x1=$(reboot)"}, end), nil},
		{"what the shell acts on", []string{"ENV=/w/x", "PS1=$(x)", "PS2=`x`", "IFS=/", "PATH=/w", "HOME=/w", "LD_PRELOAD=/w/x.so", "EXINIT=:!x", "A=b"}, options{},
			slices.Concat(base, []string{"A=b"}, end), []string{"ENV", "PS1", "PS2", "IFS", "PATH", "HOME", "LD_PRELOAD", "EXINIT"}},
		{"what is asked for", []string{"PATH=/app", "ENV=/w/x", "TZ=UTC"}, newOptions(wire.EnterArguments{TargetEnv: []string{"PATH", "TZ"}}),
			slices.Concat([]string{"HOME=/", "PATH=/app", "TZ=UTC"}, end), []string{"ENV"}},
		{"all is asked for", []string{"PATH=", "ENV=/w/x", "HISTFILE=/w/h", "PS1=> ", "SHELL=/bin/zsh"}, newOptions(wire.EnterArguments{TargetEnv: []string{"all"}}),
			[]string{"HOME=/", "PATH=", "ENV=/w/x", "HISTFILE=", "PS1=> ", "SHELL=/bin/zsh"}, nil},
		{"names that are none to a shell", []string{"discovery.type=single-node", "a-b=c=d", "1A=b", "A B=c"}, options{},
			slices.Concat(base, []string{"discovery.type=single-node", "a-b=c=d", "1A=b", "A B=c"}, end), nil},
		{"names that are none", []string{"BASH_FUNC_ls%%=() { x; }", "=b", "ÄB=c", "A\nB=c", "A\x1b=c"}, options{}, slices.Concat(base, end), []string{"BASH_FUNC_ls%%"}},
		{"the terminal's size", []string{"COLUMNS=20", "LINES=5"}, newOptions(wire.EnterArguments{TargetEnv: []string{"SHLVL"}}),
			slices.Concat(base, end), []string{"COLUMNS", "LINES"}},
		{"the terminal's size among all", []string{"COLUMNS=20", "SHELL=x"}, newOptions(wire.EnterArguments{TargetEnv: []string{"all"}}),
			slices.Concat(base, []string{"SHELL=x", "HISTFILE=", `PS1=\w\$ `}), []string{"COLUMNS"}},
		{"the terminal's size by name", []string{"COLUMNS=20"}, newOptions(wire.EnterArguments{TargetEnv: []string{"COLUMNS"}}),
			slices.Concat(base, []string{"COLUMNS=20"}, end), nil},
		{"too long to execute", []string{long, "A=b"}, options{}, slices.Concat(base, []string{"A=b"}, end), nil},
		{"over the target's", []string{"COLOUR=red"}, newOptions(wire.EnterArguments{Env: []string{"TERM=xterm", "COLOUR=", "N=1,2 "}}),
			slices.Concat(base, []string{"COLOUR="}, end, []string{"TERM=xterm", "N=1,2 "}), nil},
		{"twice in the target", []string{"A=1", "A=2", "ENV=x", "ENV=y"}, options{}, slices.Concat(base, []string{"A=2"}, end), []string{"ENV"}},
	}

	for _, c := range cases {
		got, left := shellEnvironment(c.target, c.opts, `\w`)
		if !slices.Equal(got.list, c.want) || !slices.Equal(left, c.left) {
			t.Errorf("%s: shellEnvironment = %q, left %q, want %q, left %q", c.name, got.list, left, c.want, c.left)
		}
	}
}

// TestEveryVariableIsKnown compares the table with what the shell's source asks the environment
// for.
func TestEveryVariableIsKnown(t *testing.T) {
	text, err := os.ReadFile("../../scratch-shell/variables")
	if err != nil {
		t.Fatal(err)
	}

	names := strings.Fields(string(text))
	if len(names) < 20 {
		t.Fatalf("scratch-shell/variables has %d names: %q", len(names), names)
	}

	for _, name := range names {
		if !isActedOn(name) {
			t.Errorf("the shell's source asks for %s, of which actedOn knows nothing", name)
		}
	}

	for name, reason := range actedOn {
		if reason == "" {
			t.Errorf("actedOn[%s] gives no reason", name)
		}
	}
}

func TestPrompt(t *testing.T) {
	for text, want := range map[string]string{
		"":                 `\w\$ `,
		"pod-1/app":        `pod-1/app:\w\$ `,
		"a$(reboot)`x`\\h": `a�(reboot)�x��h:\w\$ `,
		"a\x1b[31m\nb":     `a�[31m b:\w\$ `,
	} {
		if got := formatPrompt(text, `\w`); got != want {
			t.Errorf("formatPrompt(%q) = %q, want %q", text, got, want)
		}
	}
}
