package shell

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/programs"
	"kdiag/mux/wire"

	"github.com/urfave/cli/v2"
)

// TestLargePrograms are sent only with --force: the pod's memory has to hold them.
func TestLargePrograms(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}

	path := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, largePrograms+1); err != nil {
		t.Fatal(err)
	}

	for _, force := range []string{"false", "true"} {
		set := flag.NewFlagSet("", flag.ContinueOnError)
		set.Bool("force", false, "")
		set.Var(cli.NewStringSlice(), "with", "")
		if err := set.Parse([]string{"--force=" + force, "--with=" + path}); err != nil {
			t.Fatal(err)
		}
		files, err := readPrograms(&applets.Invocation{Flags: cli.NewContext(nil, set, nil)})
		if force == "true" && (err != nil || len(files) != 1) {
			t.Errorf("readPrograms with --force = %v, %v, want the program", files, err)
		}
		if force == "false" && (err == nil || !strings.Contains(err.Error(), "64.0 MiB") || applets.ExitCode(err) != applets.ExitUsage) {
			t.Errorf("readPrograms = %v, %v, want it to refuse 64.0 MiB with code 2", files, err)
		}
	}
}

// notedHost notes what is said.
type notedHost struct {
	shellHost
	said []string
}

func (h *notedHost) Note(text string) { h.said = append(h.said, text) }

// TestShadowedPrograms says of a program whose name the shell takes for its own how it runs.
func TestShadowedPrograms(t *testing.T) {
	for name, want := range map[string]string{"strace": "", "test": "to run yours: env test", "if": "to run yours: env if", "ls": ""} {
		var host notedHost
		notePrograms(&host, []programs.File{{Program: wire.Program{Name: name, Size: 1}}})
		if said := strings.Join(host.said, "\n"); len(host.said) != 1+min(len(want), 1) || !strings.Contains(said, want) {
			t.Errorf("%s: said %q, want %q", name, said, want)
		}
	}
}
