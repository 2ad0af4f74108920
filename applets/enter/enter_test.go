package enter

import (
	"slices"
	"strings"
	"testing"

	"kdiag/applets/internal/podproc"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		opts Options
		// want is part of the error, "" for none.
		want string
	}{
		{Options{}, ""},
		{Options{Session: "0123456789abcdef", Target: podproc.Container{ID: strings.Repeat("a", 64), SharedPIDs: true}, Env: []string{"A=b=c", "B="}}, ""},
		{Options{Session: "0123456"}, "--session"},
		{Options{Session: "0123456789ABCDEF"}, "--session"},
		{Options{Session: strings.Repeat("a", 65)}, "--session"},
		{Options{Target: podproc.Container{ID: "abc"}}, "--container-id"},
		{Options{Target: podproc.Container{ID: "../../../../etc"}}, "--container-id"},
		{Options{Target: podproc.Container{SharedPIDs: true}}, "--shared-pids"},
		{Options{Env: []string{"A"}}, "--env"},
		{Options{Env: []string{"=b"}}, "--env"},
	} {
		err := c.opts.check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("check(%+v) = %v, want an error about %q", c.opts, err, c.want)
		}
	}
}

func TestShellEnv(t *testing.T) {
	for _, c := range []struct {
		name   string
		target []string
		opts   Options
		want   []string
	}{
		{"empty", nil, Options{}, []string{"HOME=/", "HISTFILE=", `PS1=\w\$ `}},
		{"the target's", []string{"PATH=/app", "HOME=/root", "HISTFILE=/data/h", "A=b=c", "no variable"}, Options{Prompt: "pod/app"},
			[]string{"HOME=/root", "PATH=/app", "HISTFILE=", "A=b=c", `PS1=pod/app:\w\$ `}},
		{"empty PATH stays", []string{"PATH="}, Options{}, []string{"HOME=/", "PATH=", "HISTFILE=", `PS1=\w\$ `}},
		{"over the target's", []string{"TERM=dumb", "A=b"}, Options{Env: []string{"TERM=xterm", "A=", "N=1,2 "}},
			[]string{"HOME=/", "TERM=xterm", "A=", "HISTFILE=", `PS1=\w\$ `, "N=1,2 "}},
		{"twice in the target", []string{"A=1", "A=2"}, Options{}, []string{"HOME=/", "A=2", "HISTFILE=", `PS1=\w\$ `}},
	} {
		if got := shellEnv(c.target, c.opts, `\w`).list; !slices.Equal(got, c.want) {
			t.Errorf("%s: shellEnv = %q, want %q", c.name, got, c.want)
		}
	}
}

func TestPrompt(t *testing.T) {
	for text, want := range map[string]string{
		"":                 `\w\$ `,
		"pod-1/app":        `pod-1/app:\w\$ `,
		"a$(reboot)`x`\\h": `a_(reboot)_x__h:\w\$ `,
		"a\x1b[31m\nb":     `a_[31m_b:\w\$ `,
	} {
		if got := prompt(text, `\w`); got != want {
			t.Errorf("prompt(%q) = %q, want %q", text, got, want)
		}
	}
}
