package shell

import (
	"context"
	"io"
	"os"
	"testing"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/testkit/fakecluster"
	"kdiag/integration/testenv"
	"kdiag/kube"

	"github.com/creack/pty"
)

// TestTerminalThatIsGone hangs the session up when the user's terminal is gone, though no SIGHUP comes:
// the terminal is not this process's own.
func TestTerminalThatIsGone(t *testing.T) {
	for name, outToTerminal := range map[string]bool{"terminal": true, "-t, stdout elsewhere": false} {
		t.Run(name, func(t *testing.T) {
			master, tty, err := pty.Open()
			if err != nil {
				testenv.Missing(t, "no pseudo-terminals: %v", err)
			}
			defer tty.Close()
			streams := applets.Streams{In: tty, Out: tty, Err: tty}
			if !outToTerminal {
				streams.Out, streams.Err = io.Discard, io.Discard
			}

			ended, hungUp := make(chan error, 1), make(chan struct{})
			cluster := &fakecluster.Fake{RunExec: execUntilCut(t, master, hungUp)}
			fakecluster.KeepHome(t)
			request := containers.Request{Pod: kube.Selection{Kind: "pods", Name: "web"}, Container: "app", Timeout: time.Minute}
			go func() {
				ended <- runShell(t.Context(), cluster, request, options{quiet: true, terminal: wantTerminal}, streams)
			}()

			select {
			case err = <-ended:
			case <-time.After(30 * time.Second):
				t.Fatal("the shell goes on without its terminal")
			}
			select {
			case <-hungUp:
			default:
				t.Error("the session in the pod was not hung up")
			}
			if code := applets.ExitCode(err); code != applets.ExitSIGHUP || !applets.IsSilent(err) {
				t.Errorf("runShell = %v, code %d, want code %d, as after SIGHUP, and no word", err, code, applets.ExitSIGHUP)
			}
		})
	}
}

// execUntilCut returns an exec on a terminal that goes on until it is cut. It closes the user's
// terminal. Its lifeline ends when its stdin does.
func execUntilCut(t *testing.T, master *os.File, hungUp chan struct{}) func(context.Context, int, kube.ExecRequest) error {
	return func(ctx context.Context, _ int, e kube.ExecRequest) error {
		if enterArguments(t, e).Lifeline {
			_, err := io.Copy(io.Discard, e.Stdin)
			close(hungUp)
			return err
		}

		e.Opened()
		go func() { _, _ = io.Copy(io.Discard, e.Stdin) }()
		if err := master.Close(); err != nil {
			t.Error(err)
		}
		<-ctx.Done()
		return ctx.Err()
	}
}
