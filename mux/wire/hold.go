package wire

import "time"

// AppletHold is the applet that a pod which kdiag made runs in place of what its image would.
const AppletHold = "hold"

// These say where kdiag is in a copy of a pod: a volume is mounted there, since the image is the
// application's.
const (
	CopyMount  = "/.kdiag"
	CopyBinary = CopyMount + Binary
)

// NodeRoot is where a node's pod has the node's file system, for where the namespace of its first
// process cannot be joined.
const NodeRoot = "/host"

// CommandVariable is the variable in which the shell of a copy finds the command that its container
// was made to run, quoted for a shell: eval "$KDIAG_COMMAND" runs it.
const CommandVariable = "KDIAG_COMMAND"

// HoldArguments holds the arguments of "kdiag hold".
type HoldArguments struct {
	// Deadline is how long it waits at most.
	Deadline time.Duration
	// Install has it wait for nothing, and copy its own program to this path.
	Install string
	// End has it end the hold that keeps this container, and so the container.
	End bool
	// Command is what the container would run. It stands among the arguments because the kubelet
	// expands $(NAME) there as it does in a command.
	Command []string
}

// arguments ties the flags to the fields, in the order of the command line.
func (a *HoldArguments) arguments() []argument {
	return []argument{
		durationArgument(&a.Deadline, "deadline", "time to wait at most"),
		switchArgument(&a.End, "end", "end the hold that keeps this container"),
		textArgument(&a.Install, "install", "copy this program to a path, and wait for nothing"),
	}
}

// Args returns the command line after the program: the applet, its flags, and the container's own
// command after "--".
func (a HoldArguments) Args() []string {
	words := append([]string{AppletHold}, writeArguments(a.arguments())...)
	if a.Command == nil {
		return words
	}
	return append(append(words, "--"), a.Command...)
}

// ParseHoldArguments parses what follows the applet's name, as ParseManagerArguments does.
func ParseHoldArguments(words []string) (HoldArguments, error) {
	var a HoldArguments
	rest, err := parseArguments(a.arguments(), words)
	a.Command = rest
	return a, err
}

// HoldUsage lists the flags of "kdiag hold" for its help page.
func HoldUsage() string { return describeArguments(new(HoldArguments).arguments()) }
