package applets

import (
	"errors"
	"fmt"
)

// The exit codes of kdiag's own. A remote command's code is passed on as it is.
const (
	ExitFailure = 1
	ExitUsage   = 2
	// ExitUnknown is for a name that no applet has, as the shell's "command
	// not found" (POSIX.1-2017, Shell Command Language, 2.8.2).
	ExitUnknown = 127
)

// ExitError ends the process with a code. A nil Err ends it without a message.
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

// Usage reports a command line that makes no sense.
func Usage(format string, args ...any) error {
	return &ExitError{Code: ExitUsage, Err: fmt.Errorf(format, args...)}
}

// ExitCode is the code that err ends the process with, 0 for nil.
func ExitCode(err error) int {
	var exit *ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.Code
	}
	return ExitFailure
}

// IsSilent reports whether err ends the process without a message.
func IsSilent(err error) bool {
	var exit *ExitError
	return errors.As(err, &exit) && exit.Err == nil
}
