package enter

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"kdiag/applets"
	"kdiag/applets/internal/pod/lockdown"
	"kdiag/mux/wire"
)

// init does the work of "kdiag enter" before those packages are initialized that only a laptop needs:
// they take most of the time and of the memory that this program starts with, and a pod may have
// 10 ms of processor time a second, and 16 MiB. The linker initializes a package as soon as those are
// that it imports (cmd/link/internal/ld/inittask.go).
func init() {
	if words, ok := enterWords(os.Args); ok {
		runEarly(words)
	}
}

// enterWords returns the arguments after "/kdiag enter", which is how the laptop starts it, by
// another path in a copy of a pod. Help is left to main.
func enterWords(argv []string) (words []string, ok bool) {
	if len(argv) < 2 || argv[0] != wire.Binary && argv[0] != wire.CopyBinary || argv[1] != wire.AppletEnter || slices.Contains(argv, "--help") {
		return nil, false
	}
	return argv[2:], true
}

// runEarly does what main would do for the applet. It returns only from a command line that it does
// not understand: main says what is wrong with it.
func runEarly(words []string) {
	arguments, err := wire.ParseEnterArguments(words)
	if err != nil {
		return
	}

	if err = lockdown.CloseProcess(); err == nil {
		ctx := context.Background()
		if arguments.Lifeline {
			ctx, _ = signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
		}
		err = runArguments(ctx, applets.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, arguments)
	}

	if err != nil {
		applets.PrintError(os.Stderr, err)
	}
	os.Exit(applets.ExitCode(err))
}
