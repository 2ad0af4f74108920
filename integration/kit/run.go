package kit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Result tells how a command ended.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// NewResult returns the result of a command that printed this and exited so.
func NewResult(stdout, stderr string, code int) Result { return Result{stdout, stderr, code} }

// String shows all of it, for a failed test.
func (r Result) String() string {
	return fmt.Sprintf("code %d\nstdout: %s\nstderr: %s", r.Code, r.Stdout, r.Stderr)
}

// RunKdiag runs the tested binary to its end, without a terminal.
func RunKdiag(t *testing.T, args ...string) Result {
	t.Helper()
	return RunKdiagWith(t, "", nil, args...)
}

// RunKdiagWith runs the tested binary with something on stdin and more
// environment. Where the container that it found ended just then, as one does
// that an earlier test has left idle, it follows the hint and runs it again.
func RunKdiagWith(t *testing.T, stdin string, env []string, args ...string) Result {
	t.Helper()
	got := RunCommand(t, stdin, Environment(env...), BinaryPath(), args...)
	if got.Stdout == "" && strings.HasSuffix(got.Stderr, "\nhint: its container has exited; run the command again, and kdiag starts a new one\n") {
		got = RunCommand(t, stdin, Environment(env...), BinaryPath(), args...)
	}
	return got
}

// RunCommand runs a program to its end. Exit codes other than 0 fail no test.
func RunCommand(t *testing.T, stdin string, env []string, name string, args ...string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()

	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = env
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr

	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s %q: %v", name, args, err)
	}

	return Result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}
