// Package testenv has what tests of every package share: what to do on a machine
// that lacks something, and the check that a text is fit for a terminal.
package testenv

import (
	"os"
	"testing"
	"unicode/utf8"
)

// RunsAll reports whether every test has to run: in CI, or with KDIAG_TEST_ALL=1.
func RunsAll() bool {
	return os.Getenv("CI") != "" || os.Getenv("KDIAG_TEST_ALL") == "1"
}

// Missing ends a test that cannot run here, and says why.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if RunsAll() {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// MustHaveRoot ends a test that does not run as root.
func MustHaveRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "needs root")
	}
}

// VerifyPrintable fails a test for anything in a text that a terminal would obey or
// hide. where says where the text was found.
func VerifyPrintable(t testing.TB, where, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("%s is not UTF-8: %q", where, text)
	}

	for _, r := range text {
		isControl := r < ' ' && r != '\n' || r >= 0x7f && r <= 0x9f
		isInvisible := r >= 0x200b && r <= 0x200f && r != 0x200c && r != 0x200d
		turnsDirection := r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
		if isControl || isInvisible || turnsDirection {
			t.Fatalf("%s contains %U: %q", where, r, text)
		}
	}
}
