package wire

import "time"

// Binary is where the image has kdiag.
const Binary = "/kdiag"

// The applets of the pod's half, each with its arguments below.
const (
	AppletManager = "manager"
	AppletEnter   = "enter"
	AppletInspect = "inspect"
)

// DefaultIdleTimeout is a manager's where its arguments name none.
const DefaultIdleTimeout = 10 * time.Minute

// ManagerArguments are those of "kdiag manager". They are the container's
// arguments, too, by which a later run finds the container again.
type ManagerArguments struct {
	// Role is RoleShell or RoleNet.
	Role string
	// Target is the container that a shell container was made for; empty for a
	// net container, which is for the pod.
	Target string
	// User is the public half of the user's key, in base64.
	User string
	// Profile is a shell container's.
	Profile string
	// Version is that of the kdiag that made the container.
	Version string
	// IdleTimeout is how long the manager stays with nothing to do.
	IdleTimeout time.Duration
	// Reason is the user's own word on what the container is for.
	Reason string
}

func (a *ManagerArguments) arguments() []argument {
	idle := durationArgument(&a.IdleTimeout, "idle-timeout", "time to stay without use")
	// Written even where it is 0, which the manager refuses.
	idle.write = func() []string { return []string{"--idle-timeout=" + a.IdleTimeout.String()} }

	return []argument{
		textArgument(&a.Role, "role", "what the container is for: shell or net"),
		textArgument(&a.Target, "target", "container that this one was added for"),
		textArgument(&a.User, "user", "public key of the user who owns the container"),
		textArgument(&a.Profile, "profile", "profile that the container was added with"),
		textArgument(&a.Version, "version", "version of kdiag that added the container"),
		idle,
		textArgument(&a.Reason, "reason", "why the user added the container"),
	}
}

// Args returns the command line after the program: the applet and its flags.
func (a ManagerArguments) Args() []string {
	return append([]string{AppletManager}, writeArguments(a.arguments())...)
}

// ParseManagerArguments reads the flags that follow the applet's name. With an
// error, which names the first flag that it could not read, it returns what the
// other flags say.
func ParseManagerArguments(words []string) (ManagerArguments, error) {
	a := ManagerArguments{IdleTimeout: DefaultIdleTimeout}
	rest, err := parseArguments(a.arguments(), words)
	return a, refuseRest(rest, err)
}

// ManagerUsage lists the flags of "kdiag manager" for its help page.
func ManagerUsage() string { return describeArguments(new(ManagerArguments).arguments()) }

// TargetArguments is a container beside the one in which an applet runs.
type TargetArguments struct {
	// ID is the container's, as its cgroup's name has it.
	ID string
	// SharedPIDs says that PID 1 is not the target's: the pod shares its
	// processes or has the host's.
	SharedPIDs bool
}

func (t *TargetArguments) arguments() []argument {
	return []argument{
		textArgument(&t.ID, "container-id", "ID of the target container"),
		switchArgument(&t.SharedPIDs, "shared-pids", "the target does not have PID 1 (shareProcessNamespace or hostPID)"),
	}
}

// EnterArguments are those of "kdiag enter".
type EnterArguments struct {
	// Session names the session in hexadecimal digits; it stands in the
	// shell's arguments, where the lifeline finds it.
	Session string
	// Lifeline stands by instead of becoming a shell, and hangs the session up
	// when stdin ends.
	Lifeline bool
	Target   TargetArguments
	// Prompt is what the prompt begins with; the working directory follows.
	Prompt string
	// AsTarget runs the shell with the target's user, groups and capabilities.
	AsTarget bool
	// Quiet has nothing noted.
	Quiet bool
	// KeepCapabilities leaves the shell those that only the join needed.
	KeepCapabilities bool
	// TargetEnv names variables that are taken from the target though the shell
	// acts on them; "all" is every one.
	TargetEnv []string
	// Env are variables, NAME=VALUE, put over the target's.
	Env []string
	// Shell are ash's own arguments.
	Shell []string
}

func (a *EnterArguments) arguments() []argument {
	list := []argument{
		// First, for the lifeline reads only the beginning of a command line.
		textArgument(&a.Session, "session", "ID of the session, in hexadecimal"),
		switchArgument(&a.Lifeline, "lifeline", "start no shell; wait until stdin ends, then hang up the session"),
	}
	list = append(list, a.Target.arguments()...)

	return append(list,
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

// ParseEnterArguments reads what follows the applet's name, as
// ParseManagerArguments does. The words may be the beginning of a line alone.
func ParseEnterArguments(words []string) (EnterArguments, error) {
	var a EnterArguments
	rest, err := parseArguments(a.arguments(), words)
	a.Shell = rest
	return a, err
}

// EnterUsage lists the flags of "kdiag enter" for its help page.
func EnterUsage() string { return describeArguments(new(EnterArguments).arguments()) }

// InspectArguments are those of "kdiag inspect".
type InspectArguments struct {
	Target TargetArguments
	// Connected has the sockets that are connected, too.
	Connected bool
	// Interval is the time from one snapshot to the next; 0 for a single one.
	Interval time.Duration
}

func (a *InspectArguments) arguments() []argument {
	return append(a.Target.arguments(),
		switchArgument(&a.Connected, "connected", "include connected sockets"),
		durationArgument(&a.Interval, "interval", "repeat at this interval until stdin ends"),
	)
}

// Args returns the command line after the program: the applet and its flags.
func (a InspectArguments) Args() []string {
	return append([]string{AppletInspect}, writeArguments(a.arguments())...)
}

// ParseInspectArguments reads what follows the applet's name, as
// ParseManagerArguments does.
func ParseInspectArguments(words []string) (InspectArguments, error) {
	var a InspectArguments
	rest, err := parseArguments(a.arguments(), words)
	return a, refuseRest(rest, err)
}

// InspectUsage lists the flags of "kdiag inspect" for its help page.
func InspectUsage() string { return describeArguments(new(InspectArguments).arguments()) }
