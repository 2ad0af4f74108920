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

var updateDocs = flag.Bool("update-docs", false, "write the reference and the man page anew")

func references() map[string]string {
	source := reference.Source{Applets: registry(), Topics: help.Topics()}
	return map[string]string{"docs/reference.md": source.Markdown(), "docs/kdiag.1": source.ManPage()}
}

// TestReferenceIsCurrent compares what help says with what the documentation
// says.
func TestReferenceIsCurrent(t *testing.T) {
	for path, want := range references() {
		if *updateDocs {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s is not what the commands' help says (%v): run make docs", path, err)
		}
	}
}

// TestManPage has groff read the page without a warning, and looks for a flag
// as a reader would see it.
func TestManPage(t *testing.T) {
	cmd := exec.Command("groff", "-man", "-Tutf8", "-P-c", "-ww", "-rLL=100n")
	cmd.Stdin = strings.NewReader(references()["docs/kdiag.1"])
	var warnings strings.Builder
	cmd.Stderr = &warnings
	out, err := cmd.Output()
	if err != nil || warnings.Len() > 0 {
		t.Fatalf("groff: %v: %s", err, warnings.String())
	}

	page := string(out)
	for _, want := range []string{"kdiag - get into running pods", "--image-pull-policy=POLICY", "source <(kdiag completion bash)", "\nEXIT CODES\n", "-c 'ps; ls'"} {
		if !strings.Contains(plainText(page), want) {
			t.Errorf("the man page shows no %q:\n%s", want, page)
		}
	}
}

// plainText takes the overstriking out, by which grotty makes bold letters.
func plainText(page string) string {
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
