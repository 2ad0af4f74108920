package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	kdiag := func() { os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr)) }
	commands := map[string]func(){"kdiag": kdiag, "kubectl-kdiag": kdiag, "kubectl_complete-kdiag": kdiag, "KDIAG.EXE": kdiag}
	for _, a := range registry() {
		commands[a.Name] = kdiag
	}
	for _, name := range []string{"env", "cp"} { // scripts have commands of these names
		delete(commands, name)
	}
	testscript.Main(m, commands)
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			// Keep away from the developer's own key and kubeconfig.
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "config"))
			env.Setenv("KUBECONFIG", "")
			env.Setenv("KDIAG_IMAGE", "")
			return nil
		},
	})
}

// TestEveryAppletHasAScript checks that no applet is without a testscript.
func TestEveryAppletHasAScript(t *testing.T) {
	for _, a := range registry() {
		if _, err := os.Stat(filepath.Join("testdata/script", a.Name+".txtar")); err != nil {
			t.Errorf("applet %s has no script: %v", a.Name, err)
		}
	}
}

func TestAppletName(t *testing.T) {
	for argv0, want := range map[string]string{
		"":                            "",
		"kdiag":                       "",
		"/usr/local/bin/kdiag":        "",
		"kubectl-kdiag":               "",
		`C:\Tools\KUBECTL-KDIAG.EXE`:  "",
		"KDIAG.EXE":                   "",
		"kdiag-linux-arm64":           "",
		"-sh":                         "",
		"shell":                       "shell",
		"/bin/shell":                  "shell",
		"-shell":                      "shell",
		"Version.exe":                 "version",
		"unknown":                     "",
		"/bin/kubectl_complete-kdiag": "kubectl_complete-kdiag",
	} {
		if got := appletName([]string{argv0}); got != want {
			t.Errorf("appletName(%q) = %q, want %q", argv0, got, want)
		}
	}

	if got := appletName(nil); got != "" {
		t.Errorf("appletName(nil) = %q, want none", got)
	}
}

// TestRegistry checks that names are unique and entries complete.
func TestRegistry(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range registry() {
		for _, name := range append([]string{a.Name}, a.Aliases...) {
			if seen[name] || strings.HasPrefix(name, "-") || name != strings.ToLower(name) {
				t.Errorf("applet name %q: used twice, or not lower case", name)
			}
			seen[name] = true
		}

		if (a.Run == nil) == (len(a.Applets) == 0) {
			t.Errorf("applet %s: want either Run or Applets", a.Name)
		}
		if a.Summary == "" || strings.HasSuffix(a.Summary, ".") {
			t.Errorf("applet %s: summary %q, want one line without a full stop", a.Name, a.Summary)
		}
	}
}
