// Package applets says what an applet of the kdiag binary is: its name, its
// flags, what it is handed when it runs and how it reports failure. It is a
// leaf: the applets themselves are the packages below it, and the one list of
// them stands in package main.
package applets

import (
	"context"
	"io"
	"slices"

	"github.com/urfave/cli/v2"
)

// An Applet is one command of the binary, reached by its name as first
// argument or as argv[0].
type Applet struct {
	Name    string
	Aliases []string
	// Summary is one line for the list of commands.
	Summary string
	// ArgsUsage shows the arguments after the name, as in "[POD | TYPE/NAME]".
	ArgsUsage string
	// Args are what the arguments are, one kind for each; the last one is every
	// further argument's too.
	Args []Kind
	// RestKind is what stands after "--"; zero where nothing may.
	RestKind Kind
	// Description is the body of the help page, after the synopsis.
	Description string
	// Examples are what help begins with, two or three lines of shell.
	Examples string
	// Hidden keeps the applet out of the list of commands.
	Hidden bool
	// Raw has Run read the line itself: it is all in Args, flags and "--" too.
	Raw   bool
	Flags []cli.Flag
	// First, if there is one, runs before the line is looked at. Its error ends the run.
	First func() error
	// Run does the work. It returns nil, an *ExitError, or any other error,
	// which ends the process with code 1.
	Run func(ctx context.Context, inv *Invocation) error
	// Applets are the second-level commands, as in "image save". An applet
	// has either these or Run.
	Applets []Applet
}

// HasName reports whether name is one of a's.
func (a Applet) HasName(name string) bool {
	return a.Name == name || slices.Contains(a.Aliases, name)
}

// Build is what the linker wrote into this binary.
type Build struct {
	// Version is a version such as "v0.2.0" or "v0.2.0-3-gabcdef0".
	Version string
	// Image is the reference that is run in pods when nobody names another.
	Image string
}

// Streams are the three standard streams of an invocation.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// An Invocation is one run of an applet: its streams, parsed flags and
// arguments.
type Invocation struct {
	Streams
	Build Build
	// Path is how the user came to the applet, as in "kubectl kdiag image save".
	Path string
	// Flags gives the values of the applet's flags.
	Flags *cli.Context
	// Args are the arguments before "--".
	Args []string
	// Rest is what follows "--", untouched; nil where there was no "--".
	Rest []string
}
