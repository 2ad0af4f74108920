package shell

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/streamrelay"
	"kdiag/applets/internal/testkit/fakecluster"
	"kdiag/kube"
	"kdiag/mux/wire"
)

// endingCluster is a cluster that knows what has ended a shell.
type endingCluster struct {
	*fakecluster.Fake
	said string
}

func (c endingCluster) DescribeShellEnd(context.Context, kube.TargetContainer, string) string {
	return c.said
}

// TestShellWasKilled wants a word about the end of a container that has ended the shell, and none
// about a command that was killed, or failed, by itself.
func TestShellWasKilled(t *testing.T) {
	const said = "container app of pod default/web has ended: OOMKilled"
	for _, c := range []struct {
		name    string
		code    int
		alive   bool
		quiet   bool
		want    string
		wantRun int
	}{
		{"the container has ended", 137, false, false, said, 2},
		{"it has ended, quietly", 137, false, true, said, 2},
		{"the command was killed", 137, true, false, "exit code 137", 2},
		{"the command has failed", 3, false, false, "exit code 3", 1},
	} {
		cluster := endingCluster{&fakecluster.Fake{}, said}
		cluster.RunExec = func(_ context.Context, _ int, e kube.ExecRequest) error {
			switch {
			case e.Command[1] == wire.AppletEnter:
				return &kube.CommandExitError{Code: c.code}
			case slices.Equal(e.Command, []string{wire.Binary, "help", "exit-codes"}) && c.alive:
				return nil
			}
			return errors.New("the container is not running")
		}

		_, err := runOn(t, cluster, options{quiet: c.quiet})
		if applets.ExitCode(err) != c.code || err.Error() != c.want || applets.IsSilent(err) != (c.want != said) {
			t.Errorf("%s: %v, code %d, want %q", c.name, err, applets.ExitCode(err), c.want)
		}
		if n := len(cluster.Execs()); n != c.wantRun {
			t.Errorf("%s: %d execs, want %d", c.name, n, c.wantRun)
		}
	}
}

// killedBy says what has killed a shell.
type killedBy string

func (k killedBy) DescribeKill(context.Context) string { return string(k) }

// TestEndInOwnPod exits with the shell's code, with that of a hangup where the terminal is gone, and says what has
// killed it.
func TestEndInOwnPod(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		err  error
		code int
		said string
	}{
		{&kube.CommandExitError{Code: 7}, 7, ""},
		{&kube.CommandExitError{Code: applets.ExitSIGKILL}, applets.ExitSIGKILL, "the deadline"},
		{fmt.Errorf("exec: %w", streamrelay.ErrHungUp), applets.ExitSIGHUP, ""},
		{broken, 1, "broken"},
	} {
		err := explainEnd(t.Context(), killedBy("the deadline"), c.err)
		var exit *applets.ExitError
		isQuiet := errors.As(err, &exit) && exit.Err == nil
		if applets.ExitCode(err) != c.code || isQuiet != (c.said == "") || !strings.Contains(err.Error(), c.said) {
			t.Errorf("%v: %v with code %d, want code %d and %q", c.err, err, applets.ExitCode(err), c.code, c.said)
		}
	}
}
