// Package applets defines what a command ("applet") of the kdiag binary is: its
// name and flags, what it gets when it runs, and how it reports errors. It
// imports none of the commands: each is a package below this one, and package
// main has the list of them.
package applets

import (
	"context"
	"io"
	"slices"

	"github.com/urfave/cli/v2"
)

// An Applet describes one command of the binary. Users select it by name, as the
// first argument or as argv[0].
type Applet struct {
	Name    string
	Aliases []string
	// Summary stands beside the name in the list of commands.
	Summary string
	// ArgsUsage shows the arguments after the name, as in "[POD | TYPE/NAME]".
	ArgsUsage string
	// Args has the kind of each argument. The last one also applies to every
	// argument after it.
	Args []Kind
	// RestKind is the kind of the words after "--", or 0 if there must be none.
	RestKind Kind
	// Description follows the usage line on the help page.
	Description string
	// Examples open the help page: two or three lines of shell.
	Examples string
	// Hidden keeps the applet out of the list of commands.
	Hidden bool
	// Raw passes the whole line to Run in Args, with flags and "--" unread.
	Raw   bool
	Flags []cli.Flag
	// First, if set, runs before the command line is parsed. Its error ends the run.
	First func() error
	// Run does the work. An *ExitError sets the exit code; any other error means 1.
	Run func(ctx context.Context, inv *Invocation) error
	// Applets has the subcommands, as in "image save". An applet has either
	// these or Run.
	Applets []Applet
}

// HasName reports whether name is a's name or one of its aliases.
func (a Applet) HasName(name string) bool {
	return a.Name == name || slices.Contains(a.Aliases, name)
}

// Build holds what the linker wrote into this binary.
type Build struct {
	// Version looks like "v0.2.0" or "v0.2.0-3-gabcdef0".
	Version string
	// Image is the default image to run in pods.
	Image string
}

// Streams holds the three standard streams of an invocation.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// An Invocation carries what one run of an applet works with.
type Invocation struct {
	Streams
	Build Build
	// Path is the command as the user typed it, as in "kubectl kdiag image save".
	Path string
	// Flags has the values of the applet's flags.
	Flags *cli.Context
	// Args has the arguments before "--".
	Args []string
	// Rest has the words after "--" as they are, or is nil if there was no "--".
	Rest []string
}
