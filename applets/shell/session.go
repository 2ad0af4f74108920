package shell

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/programs"
	"kdiag/applets/internal/laptop/streamrelay"
	"kdiag/kube"
	"kdiag/mux/wire"
)

// shellHost is a container in which shells run. A *containers.Shell is the usual one.
type shellHost interface {
	programs.Host
	// Note tells the user something.
	Note(text string)
}

// shellSession is one shell in a shell container.
type shellSession struct {
	handle shellHost
	// binary is the path of kdiag there.
	binary string
	input  *replayedInput
	// enter is what the launcher is told.
	enter wire.EnterArguments
	// wish is what the user wants of a terminal.
	wish terminalWish
}

func newShellSession(handle shellHost, input *replayedInput, o options) (*shellSession, error) {
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, err
	}

	target := handle.Target()
	return &shellSession{handle: handle, binary: wire.Binary, input: input, wish: o.terminal, enter: wire.EnterArguments{
		Session:          hex.EncodeToString(random[:]),
		Target:           wire.TargetArguments{ID: target.ID, SharedPIDs: target.SharesPIDs()},
		Prompt:           target.Pod.Name + "/" + target.Container,
		AsTarget:         o.asTarget,
		Relay:            true,
		Quiet:            o.quiet,
		KeepCapabilities: o.keepCapabilities,
		TargetEnv:        o.targetEnv,
		Shell:            o.args,
	}}, nil
}

// run runs the shell until it ends, on the user's terminal where there is one.
// However it ends, run restores the terminal. If the shell did not end by itself,
// run also hangs up its processes in the pod.
func (s *shellSession) run(ctx context.Context, streams applets.Streams) error {
	terminal := newTerminal(streams, s.wish, len(s.enter.Shell) > 0)
	if s.wish == wantTerminal && !terminal.interactive() {
		s.handle.Note("the shell gets no terminal (-t): stdin is not a terminal")
	}

	life := &lifeline{shellSession: s}
	shell := kube.ExecRequest{
		Stdin: s.input.begin(), Stdout: &firstWrite{Writer: streams.Out, tell: s.input.keepNoMore}, Stderr: streams.Err,
		Opened: func() { life.start(ctx, s.lifelineDelay()) },
	}
	if terminal.interactive() {
		s.enter.Env = append(s.enter.Env, "TERM="+terminalType())
		shell.Stdout = &firstWrite{Writer: streams.Out, tell: func() { life.start(ctx, firstOutputDelay) }}
	}
	launcher := s.watchLauncher(&shell, terminal.interactive())

	shell.Command = append([]string{s.binary}, s.enter.Args()...)
	relayWaits := false
	err := terminal.run(&shell, func() (err error) {
		relayWaits, err = s.execWhole(ctx, shell, launcher.endLauncher)
		return err
	})

	// Before anything else is written: the user's side may take nothing any more.
	life.end(ctx, relayWaits, err)

	err = launcher.explain(err)
	var exit *kube.CommandExitError
	errors.As(err, &exit)
	if terminal.interactive() && err != nil && (exit == nil || exit.Code > applets.ExitKilled) {
		// Cut off in mid-line, most likely.
		fmt.Fprintln(streams.Err)
	}

	return err
}

// endTimeout bounds the wait for the end of an exec that has nothing more to say.
const endTimeout = 2 * time.Second

// execWhole runs the shell, whose streams are the user's, until all of its output is written.
// begun is called when the launcher has become the shell. relayWaits says that its relay may wait in the
// pod for an answer, though the shell has ended.
func (s *shellSession) execWhole(ctx context.Context, shell kube.ExecRequest, begun func()) (relayWaits bool, err error) {
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	calls := streamrelay.Calls{Begun: begun, Failed: cancel}
	calls.Ending = func() { time.AfterFunc(endTimeout, func() { cancel(nil) }) }

	if shell.Sizes != nil {
		relay := streamrelay.NewTerminal(s.enter.Session, shell.Stdin, shell.Stdout, calls)
		shell.Stdin, shell.Stdout = relay, relay
		err = s.handle.Exec(running, shell)
		return relay.Finish(running.Done(), err)
	}

	relay := streamrelay.New(shell.Stdin, shell.Stdout, shell.Stderr, calls)
	shell.Stdin, shell.Stdout, shell.Stderr = relay.Stdin(), relay.Stdout(), relay.Stderr()
	return false, relay.Finish(ctx.Done(), s.handle.Exec(running, shell))
}

// watchLauncher has a command's errors pass what notices that the target is not there. On a terminal
// they come with the output.
func (s *shellSession) watchLauncher(shell *kube.ExecRequest, interactive bool) *launcherErrors {
	errorsGo := &shell.Stderr
	if interactive {
		errorsGo = &shell.Stdout
	}
	launcher := newLauncherErrors(*errorsGo, s.handle, s.input.keepNoMore)
	*errorsGo = launcher
	return launcher
}

// lifelineDelay returns how long a session runs before its lifeline is opened, where the shell has
// said nothing: in a pod with little processor time it would take that from the shell's start.
func (s *shellSession) lifelineDelay() time.Duration {
	if limit := kube.CPULimit(s.handle.Target().Pod); limit > 0 && limit < smallCPU {
		return slowLifelineDelay
	}
	return lifelineDelay
}

// firstWrite tells of the first bytes that are written.
type firstWrite struct {
	io.Writer
	tell func()
	once sync.Once
}

func (w *firstWrite) Write(p []byte) (int, error) {
	w.once.Do(w.tell)
	return w.Writer.Write(p)
}

func terminalType() string {
	if name := os.Getenv("TERM"); name != "" {
		return name
	}
	return "xterm-256color"
}
