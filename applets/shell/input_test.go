package shell

import (
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"kdiag/applets"
	"kdiag/integration/testenv"
	"kdiag/mux/wire"

	"github.com/creack/pty"
)

func TestAshArguments(t *testing.T) {
	for _, c := range []struct{ words, want []string }{
		{nil, nil},
		{[]string{}, []string{}},
		{[]string{"-c", "ls; ps"}, []string{"-c", "ls; ps"}},
		{[]string{"-x", "script"}, []string{"-x", "script"}},
		{[]string{"ls", "/"}, []string{"-c", wire.CommandScript, "kdiag", "ls", "/"}},
		{[]string{"sh", "-c", "a b"}, []string{"-c", wire.CommandScript, "kdiag", "sh", "-c", "a b"}},
		{[]string{"printf", "%s", "", "$x; *"}, []string{"-c", wire.CommandScript, "kdiag", "printf", "%s", "", "$x; *"}},
		{[]string{""}, []string{"-c", wire.CommandScript, "kdiag", ""}},
	} {
		if got := ashArguments(c.words); !slices.Equal(got, c.want) {
			t.Errorf("ashArguments(%q) = %q, want %q", c.words, got, c.want)
		}
	}
}

// TestTerminalFlags reads -i and -t as kubectl exec does.
func TestTerminalFlags(t *testing.T) {
	for line, want := range map[string]struct {
		wish  terminalWish
		empty bool
	}{
		"":                 {autoTerminal, false},
		"-it":              {wantTerminal, false},
		"-ti":              {wantTerminal, false},
		"-i -t":            {wantTerminal, false},
		"-t":               {wantTerminal, false},
		"--stdin --tty":    {wantTerminal, false},
		"-i":               {noTerminal, false},
		"-i --tty=false":   {noTerminal, false},
		"--tty=false":      {noTerminal, false},
		"-i=false":         {noTerminal, true},
		"--stdin=false -t": {wantTerminal, true},
	} {
		a := Applet()
		ran := false
		a.Run = func(_ context.Context, inv *applets.Invocation) error {
			ran = true
			if wish, empty := parseTerminalWish(inv), withoutStdin(inv); wish != want.wish || empty != want.empty {
				t.Errorf("%s: wish %d, empty %t, want %d, %t", line, wish, empty, want.wish, want.empty)
			}
			if container := inv.Flags.String("container"); container != "" {
				t.Errorf("%s: container %q, want none", line, container)
			}
			return nil
		}

		words := append(strings.Fields(line), "web")
		err := applets.Execute(t.Context(), a, "kdiag", words, applets.Build{}, applets.Streams{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard})
		if err != nil || !ran {
			t.Errorf("shell %q: %v, ran: %t", words, err, ran)
		}
	}
}

// TestTerminalWish gives a terminal where it is wanted and stdin is one.
func TestTerminalWish(t *testing.T) {
	master, tty, err := pty.Open()
	if err != nil {
		testenv.Missing(t, "no pseudo-terminals: %v", err)
	}
	defer master.Close()
	defer tty.Close()

	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()

	for _, c := range []struct {
		name         string
		wish         terminalWish
		in, out, err *os.File
		script, want bool
	}{
		{"auto", autoTerminal, tty, tty, tty, false, true},
		{"auto, a script with stderr elsewhere", autoTerminal, tty, tty, file, true, false},
		{"auto, stdout elsewhere", autoTerminal, tty, file, tty, false, false},
		{"-t", wantTerminal, tty, tty, tty, true, true},
		{"-t, stdout elsewhere", wantTerminal, tty, file, file, true, true},
		{"-t, stdin elsewhere", wantTerminal, file, tty, tty, false, false},
		{"-i", noTerminal, tty, tty, tty, false, false},
	} {
		streams := applets.Streams{In: c.in, Out: c.out, Err: c.err}
		if got := newTerminal(streams, c.wish, c.script).interactive(); got != c.want {
			t.Errorf("%s: terminal: %t, want %t", c.name, got, c.want)
		}
	}

	if size := (sizes{}).Next(); size != nil {
		t.Errorf("the size of no terminal is %v, want none", size)
	}
}
