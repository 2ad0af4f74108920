package doctor

import (
	"fmt"
	"io"
	"strings"

	"kdiag/applets"
	"kdiag/kube"
	"kdiag/mux/wire"
)

// Outcome is the result of a check.
type Outcome string

const (
	// OK means that nothing is wrong.
	OK Outcome = "ok"
	// Failed means that something keeps a command from working.
	Failed Outcome = "failed"
	// Unknown means that the check was skipped, or is impossible from here.
	Unknown Outcome = "unknown"
)

// Check holds the result of one check.
type Check struct {
	Name   string  `json:"name"`
	Status Outcome `json:"status"`
	Detail string  `json:"detail"`
	Hint   string  `json:"hint,omitempty"`
}

func passedCheck(name, format string, args ...any) Check {
	return Check{name, OK, fmt.Sprintf(format, args...), ""}
}

func unknownCheck(name, format string, args ...any) Check {
	return Check{name, Unknown, fmt.Sprintf(format, args...), ""}
}

// failedCheck returns a check that failed with err, including its hints.
func failedCheck(name string, err error) Check {
	return Check{name, Failed, err.Error(), strings.Join(applets.Hints(err), "; ")}
}

// unansweredCheck returns a check that err made impossible.
func unansweredCheck(name string, err error) Check {
	c := failedCheck(name, err)
	c.Status = Unknown
	return c
}

// checkPrinter prints the checks, in order.
type checkPrinter interface {
	printCheck(Check)
	// finish is called after the last check, with the target if there is one.
	finish(*kube.TargetContainer) error
}

func newCheckPrinter(format string, out io.Writer) checkPrinter {
	if format == "json" {
		return &jsonPrinter{out: out, Checks: []Check{}}
	}
	return textPrinter{out, applets.WantsColour(out)}
}

// textPrinter prints each check as soon as it is made.
type textPrinter struct {
	out    io.Writer
	colour bool
}

// widest is the length of the longest name, so that the details line up.
const widest = len(nameCapture)

func (r textPrinter) printCheck(c Check) {
	fmt.Fprintf(r.out, "%s %-*s  %s\n", r.formatMark(c.Status), widest, c.Name, wire.Printable(c.Detail))
	if c.Hint != "" {
		fmt.Fprintf(r.out, "  hint: %s\n", wire.Printable(c.Hint))
	}
}

func (r textPrinter) finish(*kube.TargetContainer) error { return nil }

func (r textPrinter) formatMark(s Outcome) string {
	mark, colour := "–", ""
	switch s {
	case OK:
		mark, colour = "✓", "\x1b[32m" // ECMA-48, SGR: green
	case Failed:
		mark, colour = "✗", "\x1b[31m" // red
	}

	if !r.colour || colour == "" {
		return mark
	}

	return colour + mark + "\x1b[0m"
}

// jsonPrinter prints one document at the end.
type jsonPrinter struct {
	out io.Writer
	// The target; empty without one.
	Namespace string  `json:"namespace,omitempty"`
	Pod       string  `json:"pod,omitempty"`
	Container string  `json:"container,omitempty"`
	Checks    []Check `json:"checks"`
}

func (r *jsonPrinter) printCheck(c Check) { r.Checks = append(r.Checks, c) }

func (r *jsonPrinter) finish(target *kube.TargetContainer) error {
	if target != nil {
		r.Namespace, r.Pod, r.Container = target.Pod.Namespace, target.Pod.Name, target.Container
	}
	return applets.WriteJSON(r.out, r, "  ")
}

// errSomeFailed exits with code 1. The checks have already said what failed.
var errSomeFailed = &applets.ExitError{Code: applets.ExitFailure}
