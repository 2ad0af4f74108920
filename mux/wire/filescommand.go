package wire

// AppletFiles runs in the pod, and copies files between it and the laptop (files.go).
const AppletFiles = "files"

// FilesArguments holds the arguments of "kdiag files". What is copied comes over stdin.
type FilesArguments struct {
	Target TargetArguments
	// Write has files written in the target; else they are read.
	Write bool
	// AsTarget reads or writes them as the target's user.
	AsTarget bool
	// Preserve keeps the right to change owners.
	Preserve bool
}

// arguments ties the flags to the fields, in the order of the command line.
func (a *FilesArguments) arguments() []argument {
	return append(a.Target.arguments(),
		switchArgument(&a.Write, "write", "write files in the target; without it, read them"),
		switchArgument(&a.AsTarget, "as-target", "use the target's user, groups and capabilities"),
		switchArgument(&a.Preserve, "preserve", "keep the right to change owners"),
	)
}

// Args returns the command line after the program: the applet and its flags.
func (a FilesArguments) Args() []string {
	return append([]string{AppletFiles}, writeArguments(a.arguments())...)
}

// ParseFilesArguments parses what follows the applet's name, as ParseManagerArguments does.
func ParseFilesArguments(words []string) (FilesArguments, error) {
	var a FilesArguments
	rest, err := parseArguments(a.arguments(), words)
	return a, refuseRest(rest, err)
}

// FilesUsage lists the flags of "kdiag files" for its help page.
func FilesUsage() string { return describeArguments(new(FilesArguments).arguments()) }
