package kubeflags

import (
	"io"

	"kdiag/applets"
)

// WithoutWarnings returns an invocation for Connect that prints no warnings of the API server's, if
// the flag --quiet says so.
func WithoutWarnings(inv *applets.Invocation) *applets.Invocation {
	if !inv.Flags.Bool("quiet") {
		return inv
	}

	quiet := *inv
	quiet.Err = io.Discard
	return &quiet
}
