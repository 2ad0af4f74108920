// Package testenv decides what a test does on a machine that lacks something it
// needs: it skips the test, or fails it where every test has to run.
package testenv

import (
	"os"
	"testing"
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
