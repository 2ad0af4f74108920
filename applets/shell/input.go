package shell

import (
	"io"
	"strings"

	"kdiag/applets"
	"kdiag/mux/wire"

	"github.com/urfave/cli/v2"
)

// inputFlags lists kubectl exec's flags for stdin and the terminal.
func inputFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "stdin", Aliases: []string{"i"}, Usage: "Pass stdin to the shell; =false passes none", DefaultText: "true"},
		&cli.BoolFlag{Name: "tty", Aliases: []string{"t"}, Usage: "Give the shell a terminal; =false gives it none", DefaultText: "if stdin and stdout are one"},
	}
}

// terminalWish says whether the shell is to have a terminal.
type terminalWish int

const (
	// autoTerminal leaves it to the streams.
	autoTerminal terminalWish = iota
	// wantTerminal asks for one wherever stdin is one.
	wantTerminal
	// noTerminal wants the streams as they are.
	noTerminal
)

// parseTerminalWish reads -i and -t: as for kubectl exec, -i alone gives no terminal.
func parseTerminalWish(inv *applets.Invocation) terminalWish {
	f := inv.Flags
	switch {
	case f.Bool("tty"):
		return wantTerminal
	case f.IsSet("tty"), f.IsSet("stdin"):
		return noTerminal
	}
	return autoTerminal
}

// withoutStdin reports whether the shell is to read nothing.
func withoutStdin(inv *applets.Invocation) bool {
	return inv.Flags.IsSet("stdin") && !inv.Flags.Bool("stdin")
}

// emptyInput returns the streams with a stdin that has ended.
func emptyInput(streams applets.Streams) applets.Streams {
	streams.In = io.MultiReader()
	return streams
}

// ashArguments returns the shell's arguments for the words after "--". Words that begin with an
// option are ash's own. Others are a command, which runs as it is: ash looks it up, for its own
// tools and builtins too, and becomes it.
func ashArguments(words []string) []string {
	if len(words) == 0 || strings.HasPrefix(words[0], "-") {
		return words
	}
	return append([]string{"-c", wire.CommandScript, "kdiag"}, words...)
}
