// Kdiag gets a developer a shell in any container of a Kubernetes cluster,
// including distroless and scratch ones. One static binary is the kubectl plugin on
// the laptop, the manager in the pod, and what starts the shell there. argv[0] or
// else the first argument tells which of them to be.
package main

import (
	"context"
	"io"
	"os"
	"path"
	"strings"

	"kdiag/applets"
	"kdiag/applets/capture"
	"kdiag/applets/completion"
	"kdiag/applets/cp"
	"kdiag/applets/doctor"
	"kdiag/applets/enter"
	"kdiag/applets/env"
	"kdiag/applets/files"
	"kdiag/applets/guard"
	"kdiag/applets/help"
	"kdiag/applets/hold"
	"kdiag/applets/image"
	"kdiag/applets/inspect"
	"kdiag/applets/logs"
	"kdiag/applets/manage"
	"kdiag/applets/manager"
	"kdiag/applets/packets"
	"kdiag/applets/ps"
	"kdiag/applets/redir"
	"kdiag/applets/role"
	"kdiag/applets/shell"
	"kdiag/applets/version"
)

// The linker sets these (-X main.buildVersion=…); see the Makefile.
var (
	buildVersion = "dev"
	buildImage   = "localhost/kdiag:dev"
)

// registry returns every applet of this binary, in the order that help lists them.
func registry() []applets.Applet {
	return []applets.Applet{
		shell.Applet(),
		redir.Applet(),
		ps.Applet(),
		env.Applet(),
		cp.Applet(),
		logs.Applet(),
		capture.Applet(),
		capture.Extcap(),
		capture.WiresharkCall(),
		manage.Applet(),
		manager.Applet(),
		enter.Applet(),
		inspect.Applet(),
		packets.Applet(),
		hold.Applet(),
		files.Applet(),
		guard.Applet(),
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

// run does everything but exit. It returns the exit code.
func run(argv []string, stdin io.Reader, stdout, stderr io.Writer) int {
	quietPipes := surviveBrokenPipes()
	stderr = applets.NewOutput("stderr", stderr, nil)
	ctx, stop := withSignals(stderr)
	defer stop()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := applets.NewOutput("stdout", stdout, cancel)
	err := runCommandLine(ctx, argv, applets.Streams{In: stdin, Out: out, Err: stderr})
	err = withWriteFailure(err, out.Failure())
	if quietPipes && isReaderGone(err) {
		return applets.ExitBrokenPipe
	}

	return reportResult(ctx, err, stderr)
}

// runCommandLine runs the applet that a command line names.
func runCommandLine(ctx context.Context, argv []string, streams applets.Streams) error {
	program, args := splitCommandLine(argv)
	list := registry()
	name, rest := appletName(argv), args
	if name == "" {
		name = capture.WiresharkCallName(args)
	}
	if name == "" {
		name, rest = applets.SplitApplet(list, args)
	}
	if name == "" {
		return runWithoutApplet(ctx, argv, list, streams)
	}

	for _, a := range list {
		if a.HasName(name) {
			build := applets.Build{Version: buildVersion, Image: buildImage}
			return applets.Execute(ctx, a, program, rest, build, streams)
		}
	}

	return hintAtHelp(applets.UnknownCommand(list, args, name), program)
}

// splitCommandLine returns how the user spells this program, and its arguments.
func splitCommandLine(argv []string) (program string, args []string) {
	program = "kdiag"
	if len(argv) == 0 {
		return program, nil
	}

	if strings.HasPrefix(programName(argv[0]), "kubectl-") {
		program = "kubectl kdiag"
	}

	return program, argv[1:]
}

// appletName returns the applet that argv[0] names, as the links of busybox do. It
// returns "" for the binary's own names, which take the applet as an argument.
func appletName(argv []string) string {
	if len(argv) == 0 {
		return ""
	}

	name := programName(argv[0])
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

// programName returns the last element of a path of any system, in lower case,
// without a login shell's dash and without ".exe".
func programName(argv0 string) string {
	name := path.Base(strings.ReplaceAll(argv0, `\`, "/"))
	return strings.TrimSuffix(strings.ToLower(strings.TrimPrefix(name, "-")), ".exe")
}
