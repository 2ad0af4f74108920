package wire

import (
	"strings"
	"time"
)

// Binary is the path of kdiag in its image.
const Binary = "/kdiag"

// These applets run in the pod. Their arguments are below.
const (
	AppletManager = "manager"
	AppletEnter   = "enter"
	AppletInspect = "inspect"
	AppletPackets = "packets"
)

// A command that fails prints its error and its hints on lines with these prefixes, which the
// laptop reads back from an applet in the pod.
const (
	ErrorPrefix = "kdiag: "
	HintPrefix  = "hint: "
)

// These begin the error of a kdiag in the pod that does not know what this one tells it.
const (
	UnknownFlag    = "unknown flag --"
	UnknownCommand = "unknown command "
)

// IsFromOlder reports whether a kdiag in the pod is older than this one, by its error: it does not know
// a flag or an applet. The prefix of the line is left out.
func IsFromOlder(said string) bool {
	return strings.HasPrefix(said, UnknownFlag) || strings.HasPrefix(said, UnknownCommand)
}

// NoProcess begins the error of an applet in the pod that finds no process of its target, a container
// with an ID.
func NoProcess(id string) string { return "container " + id + ": no process found" }

// CommandScript has ash become the command that its arguments are: one of its own tools or builtins,
// or a program of the container. What is none of them is reported in kdiag's words, with the code that
// shells have for it.
const CommandScript = `case $1 in */*) ;; ` +
	`*) command -v "$1" >/dev/null || { printf "kdiag: %s: not found\n" "$1" >&2; exit 127; };; esac; "$@"`

// Profile names a way in which a shell container joins its target. The laptop chooses it.
type Profile string

// These say how long a manager stays without use if its user does not say.
const (
	// DefaultIdleTimeout also applies to a manager whose arguments name none.
	DefaultIdleTimeout = 10 * time.Minute
	// PrivilegedIdleTimeout applies to containers with capabilities beyond a runtime's
	// default, because anyone who may exec in the pod could use them.
	PrivilegedIdleTimeout = time.Minute
)

// ManagerArguments holds the arguments of "kdiag manager". They are the arguments of the
// container, by which a later run recognizes it.
type ManagerArguments struct {
	// Role is RoleShell, RoleNet or RoleCapture.
	Role string
	// Target names the container that a shell container was made for; empty for a net
	// container, which serves the whole pod.
	Target string
	// User holds the user's public key, in base64.
	User string
	// Profile is the shell container's; empty for a net container.
	Profile Profile
	// Version is that of the kdiag that made the container.
	Version string
	// IdleTimeout says how long the manager stays without use.
	IdleTimeout time.Duration
	// Reason tells others in the user's words what the container is for. It may be empty,
	// and plays no part in recognizing the container.
	Reason string
}

// arguments ties the flags to the fields, in the order of the command line.
func (a *ManagerArguments) arguments() []argument {
	idle := durationArgument(&a.IdleTimeout, "idle-timeout", "time to stay without use")
	// This is written even if it is 0, which the manager refuses.
	idle.write = func() []string { return []string{"--idle-timeout=" + a.IdleTimeout.String()} }

	return []argument{
		textArgument(&a.Role, "role", "what the container is for: shell, net or capture"),
		textArgument(&a.Target, "target", "container that this one was added for"),
		textArgument(&a.User, "user", "public key of the user who owns the container"),
		textArgument((*string)(&a.Profile), "profile", "profile that the container was added with"),
		textArgument(&a.Version, "version", "version of kdiag that added the container"),
		idle,
		textArgument(&a.Reason, "reason", "why the user added the container"),
	}
}

// Args returns the command line after the program: the applet and its flags.
func (a ManagerArguments) Args() []string {
	return append([]string{AppletManager}, writeArguments(a.arguments())...)
}

// ParseManagerArguments parses the flags after the applet's name. Its error names the first
// flag that it cannot parse; it returns what the other flags say all the same.
func ParseManagerArguments(words []string) (ManagerArguments, error) {
	a := ManagerArguments{IdleTimeout: DefaultIdleTimeout}
	rest, err := parseArguments(a.arguments(), words)
	return a, refuseRest(rest, err)
}

// ManagerUsage lists the flags of "kdiag manager" for its help page.
func ManagerUsage() string { return describeArguments(new(ManagerArguments).arguments()) }

// TargetArguments says which container an applet works on, beside its own.
type TargetArguments struct {
	// ID identifies the container, as the name of its cgroup does.
	ID string
	// SharedPIDs says that the target does not have PID 1, because the pod's containers share
	// their processes or see the host's.
	SharedPIDs bool
}

// arguments ties the flags to the fields, in the order of the command line.
func (t *TargetArguments) arguments() []argument {
	return []argument{
		textArgument(&t.ID, "container-id", "ID of the target container"),
		switchArgument(&t.SharedPIDs, "shared-pids", "the target does not have PID 1 (shareProcessNamespace or hostPID)"),
	}
}

// EnterArguments holds the arguments of "kdiag enter".
type EnterArguments struct {
	// Session identifies the session, in hexadecimal. The lifeline finds the shell by it, in
	// the shell's arguments.
	Session string
	// Lifeline starts no shell: it waits until stdin ends, and then hangs up the session.
	Lifeline bool
	// Load starts no shell: it takes Programs from stdin and hands them over (programs.go).
	Load bool
	// Programs lists the programs that the user brings along, each as Program's String writes it.
	Programs []string
	// ProgramsFrom names the UNIX socket at which the shell gets them.
	ProgramsFrom string
	// Relay has the shell's parent stay until the laptop has all of the output (relay.go).
	Relay  bool
	Target TargetArguments
	// Here says that the container is the target itself: there is nothing to join.
	Here bool
	// Node says that the target is the node, whose PID namespace the container shares: its first
	// process's namespaces are joined.
	Node bool
	// Prompt is the beginning of the prompt. The working directory follows.
	Prompt string
	// AsTarget runs the shell with the target's user, groups and capabilities.
	AsTarget bool
	// Quiet prints no notes.
	Quiet bool
	// KeepCapabilities lets the shell keep those that were needed only to join the target.
	KeepCapabilities bool
	// TargetEnv names variables to take from the target even if they affect the shell. "all"
	// stands for every one.
	TargetEnv []string
	// Env lists variables, as NAME=VALUE, that override the target's.
	Env []string
	// Shell lists ash's own arguments.
	Shell []string
}

// arguments ties the flags to the fields, in the order of the command line.
func (a *EnterArguments) arguments() []argument {
	list := []argument{
		// These are first, because the lifeline reads only the beginning of a command line.
		textArgument(&a.Session, "session", "ID of the session, in hexadecimal"),
		switchArgument(&a.Lifeline, "lifeline", "start no shell; wait until stdin ends, then hang up the session"),
		switchArgument(&a.Relay, "relay", "stay beside the shell until the laptop has all of its output"),
	}
	list = append(list, a.Target.arguments()...)

	return append(list,
		switchArgument(&a.Load, "load", "start no shell; take the programs from stdin and hand them over"),
		listArgument(&a.Programs, "program", "program that the user brings along: NAME:SIZE:SHA256"),
		textArgument(&a.ProgramsFrom, "programs-from", "UNIX socket at which to get the programs"),
		switchArgument(&a.Here, "here", "the target is this container, a copy that kdiag hold keeps"),
		switchArgument(&a.Node, "node", "the target is the node, whose PID namespace is shared"),
		textArgument(&a.Prompt, "prompt", "text that the prompt begins with"),
		switchArgument(&a.AsTarget, "as-target", "run the shell with the target's user, groups and capabilities"),
		switchArgument(&a.Quiet, "quiet", "don't print notes"),
		switchArgument(&a.KeepCapabilities, "keep-capabilities", "let the shell keep the capabilities used to join the target"),
		listArgument(&a.TargetEnv, "target-env", "variable to take from the target even if it affects the shell, or all"),
		listArgument(&a.Env, "env", "variable to set, instead of the target's: NAME=VALUE"),
	)
}

// Args returns the command line after the program: the applet, its flags, and
// the shell's arguments after "--".
func (a EnterArguments) Args() []string {
	words := append([]string{AppletEnter}, writeArguments(a.arguments())...)
	if a.Lifeline {
		return words
	}
	return append(append(words, "--"), a.Shell...)
}

// ParseEnterArguments parses what follows the applet's name, as ParseManagerArguments does. The
// words may be only the beginning of a command line.
func ParseEnterArguments(words []string) (EnterArguments, error) {
	var a EnterArguments
	rest, err := parseArguments(a.arguments(), words)
	a.Shell = rest
	return a, err
}

// EnterUsage lists the flags of "kdiag enter" for its help page.
func EnterUsage() string { return describeArguments(new(EnterArguments).arguments()) }

// InspectArguments holds the arguments of "kdiag inspect".
type InspectArguments struct {
	Target TargetArguments
	// Environment prints the first process's environment, and no snapshot.
	Environment bool
	// Connected adds the sockets that are connected.
	Connected bool
	// Interval is the time from one snapshot to the next, or 0 for a single one.
	Interval time.Duration
}

// arguments ties the flags to the fields, in the order of the command line.
func (a *InspectArguments) arguments() []argument {
	return append(a.Target.arguments(),
		switchArgument(&a.Environment, "environment", "print the environment of the target's first process instead"),
		switchArgument(&a.Connected, "connected", "include connected sockets"),
		durationArgument(&a.Interval, "interval", "repeat at this interval until stdin ends"),
	)
}

// Args returns the command line after the program: the applet and its flags.
func (a InspectArguments) Args() []string {
	return append([]string{AppletInspect}, writeArguments(a.arguments())...)
}

// ParseInspectArguments parses what follows the applet's name, as ParseManagerArguments does.
func ParseInspectArguments(words []string) (InspectArguments, error) {
	var a InspectArguments
	rest, err := parseArguments(a.arguments(), words)
	return a, refuseRest(rest, err)
}

// InspectUsage lists the flags of "kdiag inspect" for its help page.
func InspectUsage() string { return describeArguments(new(InspectArguments).arguments()) }
