package doctor

import (
	"fmt"
	"io"
	"strings"

	"kdiag/applets"
	"kdiag/mux/wire"
)

// Status is how a check came out.
type Status string

const (
	// OK is a check with nothing wrong.
	OK Status = "ok"
	// Failed is a check that found what keeps a command from working.
	Failed Status = "failed"
	// Unknown is a check that was not made, or that nobody can make from here.
	Unknown Status = "unknown"
)

// Check is one line of the answer.
type Check struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"`
}

func passed(name, format string, args ...any) Check {
	return Check{name, OK, fmt.Sprintf(format, args...), ""}
}

func unknown(name, format string, args ...any) Check {
	return Check{name, Unknown, fmt.Sprintf(format, args...), ""}
}

// failed is the check that err ended, with its hints.
func failed(name string, err error) Check {
	return Check{name, Failed, err.Error(), strings.Join(applets.Hints(err), "; ")}
}

// notKnown is a check that err kept from an answer.
func notKnown(name string, err error) Check {
	c := failed(name, err)
	c.Status = Unknown
	return c
}

// report takes the checks, in order.
type report interface {
	add(Check)
	// end is called after the last one.
	end() error
}

func newReport(format string, out io.Writer) report {
	if format == "json" {
		return &jsonReport{out: out, Checks: []Check{}}
	}
	return textReport{out, applets.Coloured(out)}
}

// textReport writes each check as soon as it is made.
type textReport struct {
	out    io.Writer
	colour bool
}

// widest is the widest name, so that the details stand below one another.
const widest = len("pod security: redir")

func (r textReport) add(c Check) {
	fmt.Fprintf(r.out, "%s %-*s  %s\n", r.mark(c.Status), widest, c.Name, wire.Printable(c.Detail))
	if c.Hint != "" {
		fmt.Fprintf(r.out, "  hint: %s\n", wire.Printable(c.Hint))
	}
}

func (r textReport) end() error { return nil }

func (r textReport) mark(s Status) string {
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

// jsonReport writes one document at the end.
type jsonReport struct {
	out    io.Writer
	Checks []Check `json:"checks"`
}

func (r *jsonReport) add(c Check) { r.Checks = append(r.Checks, c) }

func (r *jsonReport) end() error {
	return applets.WriteJSON(r.out, r, "  ")
}

// errSome ends the process with code 1; what failed was said.
var errSome = &applets.ExitError{Code: applets.ExitFailure}
