package applets

import (
	"errors"
	"fmt"
)

// The exit codes that kdiag itself uses. A remote command's code is passed on.
const (
	ExitFailure = 1
	ExitUsage   = 2
	// ExitUnknown reports an unknown command, as a shell does for "command not
	// found" (POSIX.1-2017, Shell Command Language, 2.8.2).
	ExitUnknown = 127
	// ExitBrokenPipe reports an output whose reader has gone, as the death by SIGPIPE does.
	ExitBrokenPipe = 141
	// ExitKilled plus a signal's number reports a process that the signal killed, as a
	// shell does (ibid.).
	ExitKilled = 128
	// ExitSIGKILL reports a process that SIGKILL killed, as a runtime does when a container ends.
	ExitSIGKILL = ExitKilled + 9
	// ExitSIGHUP reports that the user's terminal is gone, as the death by SIGHUP does.
	ExitSIGHUP = ExitKilled + 1
)

// ExitError makes the process exit with a code. If Err is nil, no message is
// printed.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

func (e *ExitError) Unwrap() error { return e.Err }

// UsageError reports an invalid command line. The process exits with ExitUsage,
// and points at the command's help.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// Usage returns a *UsageError.
func Usage(format string, args ...any) error {
	return &UsageError{fmt.Errorf(format, args...)}
}

// ExitCode returns the exit code for err, 0 for nil.
func ExitCode(err error) int {
	var exit *ExitError
	var usage *UsageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.Code
	case errors.As(err, &usage):
		return ExitUsage
	}
	return ExitFailure
}

// IsSilent reports whether err sets an exit code without a message.
func IsSilent(err error) bool {
	var exit *ExitError
	return errors.As(err, &exit) && exit.Err == nil
}
