package ps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/testkit/fakecluster"
	"kdiag/kube"
	"kdiag/mux/wire"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// show runs the command on a cluster.
func show(ctx context.Context, cluster psCluster, o options) (stdout, stderr string, err error) {
	var out, errs strings.Builder
	request := containers.Request{
		Pod: kube.Selection{Kind: "pods", Name: "web"}, Container: "app", Image: "i", Profile: kube.ProfileAuto, Version: "v1", Timeout: time.Minute,
	}
	err = o.showContainer(ctx, cluster, request, applets.Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
	return out.String(), errs.String(), err
}

var snapshot = wire.Snapshot{
	Time:      time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	Processes: []wire.Process{{PID: 7, UID: 1000, User: "app", State: "S", Name: "server", Command: []string{"/server"}}},
	Sockets: []wire.Socket{
		{Protocol: "tcp", State: wire.StateListen, Local: "0.0.0.0:8080", PIDs: []int{7}},
		{Protocol: "tcp", State: "ESTABLISHED", Local: "10.0.0.1:8080", Remote: "10.0.0.2:4000", PIDs: []int{7}},
	},
}

// printSnapshot answers as "kdiag inspect" does, one line for each call.
func printSnapshot(_ context.Context, _ int, e kube.ExecRequest) error {
	return json.NewEncoder(e.Stdout).Encode(snapshot)
}

func TestShowContainer(t *testing.T) {
	fakecluster.KeepHome(t)
	cluster := &fakecluster.Fake{
		RunExec:    printSnapshot,
		PeersKnown: kube.Peers{netip.MustParseAddr("10.0.0.2"): {Kind: "pod", Namespace: "ns", Name: "client"}},
	}
	stdout, stderr, err := show(t.Context(), cluster, options{sockets: true, output: "text"})
	if err != nil || stderr != "" {
		t.Fatalf("showContainer = %v, stderr %q", err, stderr)
	}
	for _, want := range []string{"/server", "0.0.0.0:8080", "ns/client"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("output %q, want %s in it", stdout, want)
		}
	}

	exec := cluster.Execs()[0]
	got, err := wire.ParseInspectArguments(exec.Command[2:])
	want := wire.InspectArguments{Target: wire.TargetArguments{ID: "aaaaaaaaaaaaaaaa"}, Connected: true}
	if err != nil || got != want || exec.Command[1] != wire.AppletInspect || exec.Container != "kdiag-shell-app-abcde" {
		t.Errorf("exec %+v asks for %+v, %v, want %+v in the shell container", exec, got, err, want)
	}
}

func TestShowContainerAsJSON(t *testing.T) {
	fakecluster.KeepHome(t)
	stdout, _, err := show(t.Context(), &fakecluster.Fake{RunExec: printSnapshot}, options{output: "json"})
	var got struct{ Namespace, Pod, Container string }
	if jsonErr := json.Unmarshal([]byte(stdout), &got); err != nil || jsonErr != nil || got.Namespace != "default" || got.Pod != "web" || got.Container != "app" {
		t.Errorf("showContainer = %v, output %q, want one document of default/web, container app", err, stdout)
	}
}

// TestInspectFails says what the program in the pod said, with its hint, or asks
// for the image where that program is not kdiag's.
func TestInspectFails(t *testing.T) {
	fakecluster.KeepHome(t)
	for _, c := range []struct {
		code         int
		stderr, hint string
		want         string
	}{
		{1, "kdiag: no process found\nhint: has it exited?\n", "has it exited?", "no process found"},
		{2, "kdiag: unknown flag --connected\nhint: run it with --help\n", kube.HintOlderImage, "kdiag in image i is older than this one: unknown flag --connected"},
		{127, "kdiag: unknown command \"inspect\"\n", kube.HintOlderImage, "kdiag in image i is older than this one: unknown command"},
		{2, "kdiag: --interval must not be negative\n", "check that i is an image of this kdiag", "must not be"},
		{127, "sh: not found\n", "check that i is an image of this kdiag", "exit code 127"},
	} {
		cluster := &fakecluster.Fake{HasEnded: true, RunExec: func(_ context.Context, _ int, e kube.ExecRequest) error {
			_, _ = io.WriteString(e.Stderr, c.stderr)
			return &kube.CommandExitError{Code: c.code}
		}}
		_, _, err := show(t.Context(), cluster, options{output: "text"})
		hints := strings.Join(applets.Hints(err), "; ")
		if err == nil || !strings.Contains(err.Error(), c.want) || hints != c.hint || applets.ExitCode(err) != 1 {
			t.Errorf("exit code %d, stderr %q: %v (code %d), hints %q, want %q and %q", c.code, c.stderr, err, applets.ExitCode(err), hints, c.want, c.hint)
		}
		if tries := len(cluster.Execs()); tries != 1 {
			t.Errorf("exit code %d: %d tries, want 1", c.code, tries)
		}
	}
}

// TestInspectInEndedContainer looks again in a new container, twice.
func TestInspectInEndedContainer(t *testing.T) {
	fakecluster.KeepHome(t)
	for failures, wantErr := range map[int]bool{1: false, 2: false, 3: true} {
		cluster := &fakecluster.Fake{HasEnded: true, RunExec: func(ctx context.Context, call int, e kube.ExecRequest) error {
			if call <= failures {
				return fmt.Errorf("try %d was cut", call)
			}
			return printSnapshot(ctx, call, e)
		}}
		_, _, err := show(t.Context(), cluster, options{output: "text"})
		if want := min(failures+1, 3); (err != nil) != wantErr || len(cluster.Shells()) != want {
			t.Errorf("%d failures: %v with %d containers, want a failure: %t, with %d", failures, err, len(cluster.Shells()), wantErr, want)
		}
	}
}

// TestOutputFails ends at once with the reason, and asks the cluster nothing more:
// the snapshot has come, so the container is not to blame.
func TestOutputFails(t *testing.T) {
	fakecluster.KeepHome(t)
	cluster := &fakecluster.Fake{HasEnded: true, RunExec: printSnapshot}
	full := errors.New("no space left on device")
	request := containers.Request{Pod: kube.Selection{Kind: "pods", Name: "web"}, Container: "app", Timeout: time.Minute}
	streams := applets.Streams{In: strings.NewReader(""), Out: failingWriter{full}, Err: io.Discard}
	err := options{output: "json"}.showContainer(t.Context(), cluster, request, streams)
	if !errors.Is(err, full) || len(applets.Hints(err)) != 0 || cluster.EndedAsked() != 0 {
		t.Errorf("showContainer = %v with hints %q, asked %d times whether the container has ended, want %v alone",
			err, applets.Hints(err), cluster.EndedAsked(), full)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// TestInspectIsSilent gives up on a pod that says nothing, after --timeout.
func TestInspectIsSilent(t *testing.T) {
	fakecluster.KeepHome(t)
	synctest.Test(t, func(t *testing.T) {
		cluster := &fakecluster.Fake{RunExec: func(ctx context.Context, _ int, _ kube.ExecRequest) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}}
		began := time.Now()
		_, _, err := show(t.Context(), cluster, options{output: "text"})
		if took := time.Since(began); err == nil || took != time.Minute {
			t.Errorf("showContainer = %v after %s, want an error after a minute", err, took)
		}
	})
}

// TestWatchWaitsForItsReader is not late while nobody reads the output.
func TestWatchWaitsForItsReader(t *testing.T) {
	fakecluster.KeepHome(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		cluster := &fakecluster.Fake{RunExec: func(ctx context.Context, _ int, e kube.ExecRequest) error {
			defer stop()
			out := json.NewEncoder(e.Stdout)
			return errors.Join(out.Encode(snapshot), out.Encode(snapshot), context.Cause(ctx))
		}}
		request := containers.Request{Pod: kube.Selection{Kind: "pods", Name: "web"}, Container: "app", Timeout: time.Minute}
		out := &slowWriter{}
		streams := applets.Streams{In: strings.NewReader(""), Out: out, Err: io.Discard}
		o := options{output: "json", watch: true, interval: time.Second}
		if err := o.showContainer(ctx, cluster, request, streams); err != nil || strings.Count(out.String(), `"pod"`) != 2 {
			t.Errorf("showContainer = %v, output %q, want two documents", err, out)
		}
	})
}

// slowWriter takes an hour for what is written.
type slowWriter struct{ strings.Builder }

func (w *slowWriter) Write(p []byte) (int, error) {
	time.Sleep(time.Hour)
	return w.Builder.Write(p)
}

// TestWatchEndsWithCtrlC shows one picture after the other until ctx ends, which
// is no failure.
func TestWatchEndsWithCtrlC(t *testing.T) {
	fakecluster.KeepHome(t)
	ctx, stop := context.WithCancel(t.Context())
	cluster := &fakecluster.Fake{RunExec: func(ctx context.Context, _ int, e kube.ExecRequest) error {
		for range 3 {
			if err := json.NewEncoder(e.Stdout).Encode(snapshot); err != nil {
				return err
			}
		}
		stop()
		<-ctx.Done()
		return context.Cause(ctx)
	}}
	stdout, _, err := show(ctx, cluster, options{output: "json", watch: true, interval: time.Second})
	if pictures := strings.Count(stdout, `"pod"`); err != nil || pictures != 3 {
		t.Errorf("showContainer = %v with %d pictures, want nil and 3", err, pictures)
	}
	if got, err := wire.ParseInspectArguments(cluster.Execs()[0].Command[2:]); err != nil || got.Interval != time.Second {
		t.Errorf("inspect is asked for %+v, %v, want an interval of 1s", got, err)
	}
}

// TestWatchConnectsAgain goes on after a connection that broke, and one that was not made, says so in
// one line, and looks at the same pod as before.
func TestWatchConnectsAgain(t *testing.T) {
	fakecluster.KeepHome(t)
	for name, lost := range map[string]error{
		"broken":             errors.New("exec in pod web: connection lost: EOF"),
		"without a word":     nil,
		"API server is busy": apierrors.NewInternalError(errors.New("restarting")),
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			cluster := &fakecluster.Fake{RunExec: func(ctx context.Context, call int, e kube.ExecRequest) error {
				switch call {
				case 1, 5:
					return errors.Join(json.NewEncoder(e.Stdout).Encode(snapshot), lost)
				case 6:
					stop()
					<-ctx.Done()
					return context.Cause(ctx)
				}
				return &kube.NotStartedError{Err: errors.New("no route to host")}
			}}

			stdout, stderr, err := show(ctx, cluster, options{output: "json", watch: true, interval: time.Second})
			if pictures := strings.Count(stdout, `"pod"`); err != nil || pictures != 2 {
				t.Errorf("%s: showContainer = %v with %d pictures, want nil and 2", name, err, pictures)
			}
			if n := strings.Count(stderr, "; connecting again\n"); n != 2 || strings.Count(stderr, "\n") != 2 || !strings.Contains(stderr, "connection lost") && lost == nil {
				t.Errorf("%s: stderr %q, want a line for each of two connections that broke", name, stderr)
			}
		})
	}
}

// TestWatchEndsForGood does not connect again if something else than the connection has failed, or if
// the target has ended.
func TestWatchEndsForGood(t *testing.T) {
	fakecluster.KeepHome(t)
	denied := apierrors.NewForbidden(schema.GroupResource{Resource: "pods/exec"}, "web", errors.New("no"))
	gone := kube.NewGoneError(true, "the pod was deleted")
	for name, c := range map[string]struct {
		lost, gone error
		want       string
	}{
		"the target has ended": {errors.New("connection lost"), gone, "look at container app of pod default/web: the pod was deleted"},
		"inspect has failed":   {&kube.CommandExitError{Code: 3}, nil, "exit code 3"},
		"no more rights":       {denied, nil, "forbidden"},
	} {
		cluster := &fakecluster.Fake{
			RunExec: func(_ context.Context, _ int, e kube.ExecRequest) error {
				return errors.Join(json.NewEncoder(e.Stdout).Encode(snapshot), c.lost)
			},
			Gone: func() error { return c.gone },
		}
		_, _, err := show(t.Context(), cluster, options{output: "json", watch: true, interval: time.Second})
		if err == nil || !strings.Contains(err.Error(), c.want) || len(cluster.Execs()) != 1 {
			t.Errorf("%s: showContainer = %v after %d tries, want %q after one", name, err, len(cluster.Execs()), c.want)
		}
	}
}
