// Kdiag gets a developer a shell in any container of a Kubernetes cluster,
// distroless and scratch ones too. One static binary is the kubectl plugin on
// the laptop, the manager in the pod and the launcher of the shell: which one
// is decided by argv[0], else by the first argument.
package main

import (
	"io"
	"os"
	"path"
	"strings"

	"kdiag/applets"
	"kdiag/applets/completion"
	"kdiag/applets/doctor"
	"kdiag/applets/enter"
	"kdiag/applets/help"
	"kdiag/applets/image"
	"kdiag/applets/inspect"
	"kdiag/applets/logs"
	"kdiag/applets/manage"
	"kdiag/applets/manager"
	"kdiag/applets/ps"
	"kdiag/applets/redir"
	"kdiag/applets/role"
	"kdiag/applets/shell"
	"kdiag/applets/version"
)

// Set by the linker (-X main.buildVersion=…); see the Makefile.
var (
	buildVersion = "dev"
	buildImage   = "localhost/kdiag:dev"
)

// registry is every applet of this binary, in the order that help lists them.
func registry() []applets.Applet {
	return []applets.Applet{
		shell.Applet(),
		redir.Applet(),
		ps.Applet(),
		logs.Applet(),
		manage.Applet(),
		manager.Applet(),
		enter.Applet(),
		inspect.Applet(),
		image.Applet(),
		doctor.Applet(),
		role.Applet(),
		version.Applet(),
		help.Applet(registry),
		completion.Applet(),
		completion.Candidates(registry, help.Topics),
	}
}

func main() {
	os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program but for the exit itself.
func run(argv []string, stdin io.Reader, stdout, stderr io.Writer) int {
	streams := applets.Streams{In: stdin, Out: stdout, Err: stderr}
	ctx, stop := withSignals(stderr)
	defer stop()

	called, line := calledAs(argv)
	list := registry()
	name, left := appletName(argv), line
	if name == "" {
		name, left = applets.SplitApplet(list, line)
	}
	if name == "" {
		return topLevel(argv, list, streams)
	}

	for _, a := range list {
		if a.HasName(name) {
			build := applets.Build{Version: buildVersion, Image: buildImage}
			err := applets.Execute(ctx, a, called, left, build, streams)
			return finish(ctx, err, stderr)
		}
	}

	err := applets.UnknownCommand(list, line, name)
	return finish(ctx, applets.WithHint(err, "%s --help lists the commands", called), stderr)
}

// calledAs is how the user spells this program, and the line after it.
func calledAs(argv []string) (called string, line []string) {
	called = "kdiag"
	if len(argv) == 0 {
		return called, nil
	}
	if strings.HasPrefix(baseName(argv[0]), "kubectl-") {
		called = "kubectl kdiag"
	}
	return called, argv[1:]
}

// appletName is the applet that argv[0] names, as a busybox link does: empty
// for the binary's own names, which take the applet as an argument.
func appletName(argv []string) string {
	if len(argv) == 0 {
		return ""
	}

	name := baseName(argv[0])
	if strings.HasPrefix(name, "kdiag") || strings.HasPrefix(name, "kubectl-kdiag") {
		return ""
	}

	for _, a := range registry() {
		if a.HasName(name) {
			return name
		}
	}

	return ""
}

// baseName is the last element of a path of any system, in lower case,
// without a login shell's dash and without ".exe".
func baseName(argv0 string) string {
	name := path.Base(strings.ReplaceAll(argv0, `\`, "/"))
	return strings.TrimSuffix(strings.ToLower(strings.TrimPrefix(name, "-")), ".exe")
}
