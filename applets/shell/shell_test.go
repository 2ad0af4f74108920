package shell

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/testkit/fakecluster"
	"kdiag/kube"
	"kdiag/mux/wire"
)

// runOn runs one shell on a cluster and returns what the user saw of it.
func runOn(t *testing.T, cluster containers.API, o options) (stderr string, err error) {
	t.Helper()
	fakecluster.KeepHome(t)
	return runUntil(t.Context(), cluster, o)
}

func runUntil(ctx context.Context, cluster containers.API, o options) (stderr string, err error) {
	var out strings.Builder
	request := containers.Request{
		Pod: kube.Selection{Kind: "pods", Name: "web"}, Container: "app", Image: "i", Profile: kube.ProfileAuto, Version: "v1", Timeout: time.Minute,
	}
	err = runShell(ctx, cluster, request, o, applets.Streams{In: strings.NewReader(""), Out: io.Discard, Err: &out})
	return out.String(), err
}

// enterArguments reads back what the launcher was told.
func enterArguments(t *testing.T, e kube.ExecRequest) wire.EnterArguments {
	t.Helper()
	if len(e.Command) < 2 || e.Command[0] != wire.Binary || e.Command[1] != wire.AppletEnter {
		t.Fatalf("command = %q, want %s %s …", e.Command, wire.Binary, wire.AppletEnter)
	}
	a, err := wire.ParseEnterArguments(e.Command[2:])
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestShellTellsLauncher(t *testing.T) {
	cluster := &fakecluster.Fake{}
	o := options{asTarget: true, targetEnv: []string{"PATH"}, quiet: true, args: []string{"-c", "ls --quiet"}}
	if stderr, err := runOn(t, cluster, o); err != nil || stderr != "" {
		t.Fatalf("runShell = %v, stderr %q", err, stderr)
	}

	exec := cluster.Execs()[0]
	if exec.Namespace != "default" || exec.Pod != "web" || exec.Container != "kdiag-shell-app-abcde" || exec.Sizes != nil || exec.OpenTimeout != time.Minute {
		t.Errorf("exec = %+v, want one in the shell container, without a terminal", exec)
	}

	got := enterArguments(t, exec)
	if len(got.Session) != 16 {
		t.Errorf("session = %q, want 16 digits", got.Session)
	}
	want := wire.EnterArguments{
		Session: got.Session, Target: wire.TargetArguments{ID: "aaaaaaaaaaaaaaaa"}, Prompt: "web/app",
		AsTarget: true, Relay: true, Quiet: true, TargetEnv: []string{"PATH"}, Shell: []string{"-c", "ls --quiet"},
	}
	if !slices.Equal(got.Args(), want.Args()) {
		t.Errorf("the launcher is told %q, want %q", got.Args(), want.Args())
	}

	asked := cluster.Shells()[0]
	if asked.Manager.Role != wire.RoleShell || asked.Manager.Target != "app" || len(asked.Manager.User) != 43 || asked.Manager.Version != "v1" || asked.Image != "i" {
		t.Errorf("asked for %+v, want a shell manager of this user's", asked)
	}
}

func TestShellNotes(t *testing.T) {
	for _, c := range []struct {
		profile kube.Profile
		quiet   bool
		want    string
	}{
		{"", false, ""},
		{kube.ProfileRestricted, false, "note: profile restricted: "},
		{kube.ProfileSetns, false, "note: profile setns: the container has SYS_ADMIN"},
		{kube.ProfileSetns, true, ""},
	} {
		stderr, err := runOn(t, &fakecluster.Fake{Profile: c.profile}, options{quiet: c.quiet})
		if err != nil || !strings.HasPrefix(stderr, c.want) || c.want == "" && stderr != "" {
			t.Errorf("profile %q, quiet: %t: %v, stderr %q, want %q", c.profile, c.quiet, err, stderr, c.want)
		}
	}
}

func TestShellPassesExitCode(t *testing.T) {
	cluster := &fakecluster.Fake{HasEnded: true, RunExec: func(context.Context, int, kube.ExecRequest) error { return &kube.CommandExitError{Code: 42} }}
	_, err := runOn(t, cluster, options{})
	if code := applets.ExitCode(err); code != 42 || !applets.IsSilent(err) || len(cluster.Execs()) != 1 {
		t.Errorf("runShell = %v (code %d) after %d commands, want code 42, no message, one command", err, code, len(cluster.Execs()))
	}
}

// TestShellIsNotRunTwice repeats only what cannot have run.
func TestShellIsNotRunTwice(t *testing.T) {
	cut := errors.New("broke off")
	for _, c := range []struct {
		name     string
		err      error
		ended    bool
		shells   int
		wantErr  error
		wantHint string
	}{
		{"never opened, container ended", &kube.NotStartedError{Err: cut}, true, 2, nil, ""},
		{"never opened, container lives", &kube.NotStartedError{Err: cut}, false, 1, cut, ""},
		{"opened, container ended", cut, true, 1, cut, "run the command again"},
		{"opened, container lives", cut, false, 1, cut, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cluster := &fakecluster.Fake{HasEnded: c.ended}
			cluster.RunExec = func(_ context.Context, _ int, e kube.ExecRequest) error {
				if enterArguments(t, e).Lifeline || len(cluster.Shells()) > 1 {
					return nil
				}
				return c.err
			}

			_, err := runOn(t, cluster, options{})
			if !errors.Is(err, c.wantErr) || len(cluster.Shells()) != c.shells {
				t.Errorf("runShell = %v with %d containers, want %v with %d", err, len(cluster.Shells()), c.wantErr, c.shells)
			}
			if hints := strings.Join(applets.Hints(err), "; "); !strings.Contains(hints, c.wantHint) || c.wantHint == "" && hints != "" {
				t.Errorf("hints = %q, want %q", hints, c.wantHint)
			}
		})
	}
}

// TestLifelineOfLongCommand opens a lifeline beside a command that goes on, and
// lets go of it at the command's own end.
func TestLifelineOfLongCommand(t *testing.T) {
	fakecluster.KeepHome(t)
	synctest.Test(t, func(t *testing.T) {
		released := false
		cluster := &fakecluster.Fake{}
		cluster.RunExec = func(ctx context.Context, _ int, e kube.ExecRequest) error {
			if enterArguments(t, e).Lifeline {
				<-ctx.Done()
				released = true
				return ctx.Err()
			}
			e.Opened()
			time.Sleep(time.Hour)
			return nil
		}

		if _, err := runUntil(t.Context(), cluster, options{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()

		execs := cluster.Execs()
		if len(execs) != 2 || !released {
			t.Fatalf("%d commands, released: %t, want a shell and a lifeline that is let go", len(execs), released)
		}
		if shell, life := enterArguments(t, execs[0]), enterArguments(t, execs[1]); life.Session != shell.Session || !life.Lifeline {
			t.Errorf("lifeline %+v, want one of session %s", life, shell.Session)
		}
	})
}

// TestCutShellIsHungUp hangs up what a cut leaves behind, and waits for it.
func TestCutShellIsHungUp(t *testing.T) {
	fakecluster.KeepHome(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, cut := context.WithCancel(t.Context())
		hungUp := false
		cluster := &fakecluster.Fake{}
		cluster.RunExec = func(ctx context.Context, _ int, e kube.ExecRequest) error {
			if enterArguments(t, e).Lifeline {
				if _, err := io.Copy(io.Discard, e.Stdin); err != nil {
					t.Errorf("the lifeline's stdin: %v, want its end", err)
				}
				time.Sleep(time.Second) // the hang-up takes a while in the pod
				hungUp = true
				return nil
			}
			e.Opened()
			cut()
			<-ctx.Done()
			return ctx.Err()
		}

		_, err := runUntil(ctx, cluster, options{})
		if !errors.Is(err, context.Canceled) || !hungUp {
			t.Errorf("runShell = %v, hung up: %t, want it cancelled after the hang-up", err, hungUp)
		}
	})
}

// TestHangUpIsTriedAgain hangs a session up whose lifeline was lost while it ran, or
// fails to open.
func TestHangUpIsTriedAgain(t *testing.T) {
	fakecluster.KeepHome(t)
	for name, failures := range map[string]int{"once": 1, "while the session runs": 10} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cut := context.WithCancel(t.Context())
				tries, hungUp := 0, false
				cluster := &fakecluster.Fake{}
				cluster.RunExec = func(ctx context.Context, _ int, e kube.ExecRequest) error {
					if !enterArguments(t, e).Lifeline {
						e.Opened()
						time.Sleep(time.Minute)
						cut()
						return ctx.Err()
					}
					if tries++; tries <= failures {
						return errors.New("too many requests")
					}
					_, err := io.Copy(io.Discard, e.Stdin)
					hungUp = true
					return err
				}

				if _, err := runUntil(ctx, cluster, options{}); !errors.Is(err, context.Canceled) || !hungUp {
					t.Errorf("runShell = %v, hung up: %t after %d tries, want it hung up", err, hungUp, tries)
				}
			})
		})
	}
}

// TestHangUpEnds gives up soon where no lifeline can be had any more.
func TestHangUpEnds(t *testing.T) {
	fakecluster.KeepHome(t)
	synctest.Test(t, func(t *testing.T) {
		cluster := &fakecluster.Fake{}
		cluster.RunExec = func(context.Context, int, kube.ExecRequest) error { return errors.New("broke off") }
		began := time.Now()
		_, err := runUntil(t.Context(), cluster, options{})
		if took := time.Since(began); err == nil || took > time.Second {
			t.Errorf("runShell = %v after %s, want an error within a second", err, took)
		}
	})
}

// TestHangUpIsBounded does not wait for ever for a pod that does not answer.
func TestHangUpIsBounded(t *testing.T) {
	fakecluster.KeepHome(t)
	synctest.Test(t, func(t *testing.T) {
		cluster := &fakecluster.Fake{}
		cluster.RunExec = func(ctx context.Context, _ int, e kube.ExecRequest) error {
			if enterArguments(t, e).Lifeline {
				<-ctx.Done()
				return ctx.Err()
			}
			return errors.New("broke off")
		}

		began := time.Now()
		_, err := runUntil(t.Context(), cluster, options{})
		if took := time.Since(began); err == nil || took != hangUpTimeout {
			t.Errorf("runShell = %v after %s, want an error after %s", err, took, hangUpTimeout)
		}
	})
}

func TestShellFindFails(t *testing.T) {
	gone := errors.New("no such pod")
	cluster := &fakecluster.Fake{FindErr: gone}
	if _, err := runOn(t, cluster, options{}); !errors.Is(err, gone) || len(cluster.Shells()) != 0 {
		t.Errorf("runShell = %v with %d containers, want %v and none", err, len(cluster.Shells()), gone)
	}
}

// TestOlderImage says in one line that the kdiag in the pod is older, and not what that says of its
// flags; but a command that says the same speaks for itself.
func TestOlderImage(t *testing.T) {
	for name, c := range map[string]struct {
		said       string
		code       int
		relayed    bool
		want, hint string
		stderr     string
	}{
		"flag":      {said: "kdiag: unknown flag --relay\nRun 'kdiag enter --help' for details.\n", code: 2, want: "enter container app of pod default/web: kdiag in image i is older than this one: unknown flag --relay", hint: kube.HintOlderImage},
		"command":   {said: "kdiag: unknown command \"enter\"\n", code: 127, want: "kdiag in image i is older than this one: unknown command \"enter\"", hint: kube.HintOlderImage},
		"other":     {said: "kdiag: flag --session: no such session\n", code: 2, want: "exit code 2", stderr: "kdiag: flag --session: no such session\n"},
		"a command": {said: "kdiag: unknown flag --x\n", code: 2, relayed: true, want: "exit code 2", stderr: "kdiag: unknown flag --x\n"},
	} {
		cluster := &fakecluster.Fake{RunExec: func(_ context.Context, _ int, e kube.ExecRequest) error {
			if !c.relayed {
				_, _ = io.WriteString(e.Stderr, c.said)
				return fakecluster.NewWithoutRelay(c.code)
			}

			frames := append(wire.AppendRelayHead([]byte(wire.RelayGreeting), wire.RelayErrors, len(c.said)), c.said...)
			_, _ = e.Stdout.Write(wire.AppendRelayHead(frames, wire.RelayExit, c.code))
			return fakecluster.NewWithoutRelay(c.code)
		}}

		stderr, err := runOn(t, cluster, options{args: []string{"-c", "true"}})
		if err == nil || !strings.Contains(err.Error(), c.want) || stderr != c.stderr {
			t.Errorf("%s: runShell = %v, stderr %q, want %q and %q", name, err, stderr, c.want, c.stderr)
		}
		wantCode := 1
		if c.hint == "" {
			wantCode = c.code
		}
		if hints := strings.Join(applets.Hints(err), "; "); hints != c.hint || applets.ExitCode(err) != wantCode || len(cluster.Execs()) != 1 {
			t.Errorf("%s: hints %q, code %d, %d tries, want %q, %d and one", name, hints, applets.ExitCode(err), len(cluster.Execs()), c.hint, wantCode)
		}
	}
}
