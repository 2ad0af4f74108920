package main

import (
	"flag"
	"os"
	"os/exec"
	"strings"
	"testing"

	"kdiag/applets/help"
	"kdiag/applets/reference"
)

var updateDocs = flag.Bool("update-docs", false, "write the reference and the man page")

// generateDocs returns what is generated from the commands' help, by path.
func generateDocs() map[string]string {
	source := reference.Source{Applets: registry(), Topics: help.Topics()}
	return map[string]string{"docs/reference.md": source.Markdown(), "docs/kdiag.1": source.ManPage()}
}

// TestReferenceIsCurrent compares the generated documentation with the commands'
// help.
func TestReferenceIsCurrent(t *testing.T) {
	for path, want := range generateDocs() {
		if *updateDocs {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s does not match the commands' help (%v): run 'make docs'", path, err)
		}
	}
}

// TestManPage checks that groff reads the page without a warning, and that it shows
// what a reader looks for.
func TestManPage(t *testing.T) {
	cmd := exec.Command("groff", "-man", "-Tutf8", "-P-c", "-ww", "-rLL=100n")
	cmd.Stdin = strings.NewReader(generateDocs()["docs/kdiag.1"])
	var warnings strings.Builder
	cmd.Stderr = &warnings
	out, err := cmd.Output()
	if err != nil || warnings.Len() > 0 {
		t.Fatalf("groff: %v: %s", err, warnings.String())
	}

	page := string(out)
	for _, want := range []string{"kdiag - get into running pods", "--image-pull-policy=POLICY", "source <(kdiag completion bash)", "\nEXIT CODES\n", "-c 'ps; ls'"} {
		if !strings.Contains(stripOverstriking(page), want) {
			t.Errorf("the man page shows no %q:\n%s", want, page)
		}
	}
}

// stripOverstriking removes what grotty prints twice to make it bold.
func stripOverstriking(page string) string {
	var plain []rune
	for _, r := range page {
		if r == '\b' {
			plain = plain[:max(0, len(plain)-1)]
			continue
		}
		plain = append(plain, r)
	}
	return string(plain)
}
