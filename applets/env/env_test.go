package env

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/testkit/fakecluster"
	"kdiag/kube"
	"kdiag/mux/wire"
)

// show runs the command on a cluster whose target has an environment.
func show(t *testing.T, o options, entries ...string) (stdout, stderr string, ran kube.ExecRequest) {
	t.Helper()
	fakecluster.KeepHome(t)
	taken := wire.Environment{Time: time.Unix(1700000000, 0).UTC(), PID: 7}
	for _, entry := range entries {
		taken.Entries = append(taken.Entries, []byte(entry))
	}

	cluster := &fakecluster.Fake{RunExec: func(_ context.Context, _ int, e kube.ExecRequest) error {
		return json.NewEncoder(e.Stdout).Encode(taken)
	}}
	request := containers.Request{
		Pod: kube.Selection{Kind: "pods", Name: "web"}, Container: "app", Image: "i", Profile: kube.ProfileAuto, Version: "v1", Timeout: time.Minute,
	}
	var out, errs strings.Builder
	err := o.showEnvironment(t.Context(), cluster, request, applets.Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
	if err != nil {
		t.Fatal(err)
	}

	return out.String(), errs.String(), cluster.Execs()[0]
}

func TestShowEnvironment(t *testing.T) {
	stdout, stderr, ran := show(t, options{output: formatText}, "PATH=/bin", "DB_PASSWORD=hunter2", "URL=http://u:hunter2@h/", "\x1b[2J=\x1b[2Jx")
	want := "NAME         FROM              VALUE\n" +
		"PATH         image or process  /bin\n" +
		"DB_PASSWORD  image or process  ********\n" +
		"URL          image or process  http://u:********@h/\n" +
		"\ufffd[2J         image or process  \ufffd[2Jx\n"
	if stdout != want || stderr != "note: 2 values are masked (--show shows them)\n" {
		t.Errorf("env printed\n%s%s\nwant\n%s", stdout, stderr, want)
	}

	got, err := wire.ParseInspectArguments(ran.Command[2:])
	if wanted := (wire.InspectArguments{Target: wire.TargetArguments{ID: "aaaaaaaaaaaaaaaa"}, Environment: true}); err != nil || got != wanted {
		t.Errorf("exec %q, want %+v", ran.Command, wanted)
	}

	stdout, stderr, _ = show(t, options{output: formatText, show: true}, "DB_PASSWORD=hunter2")
	if !strings.Contains(stdout, "hunter2") || stderr != "" {
		t.Errorf("env --show printed %q, stderr %q, want the password and no note", stdout, stderr)
	}
}

// TestShowAsJSON has the names of the fields, and no secret in any of them.
func TestShowAsJSON(t *testing.T) {
	stdout, stderr, _ := show(t, options{output: formatJSON, quiet: true}, "A=1", "B=\xff", "TOKEN=abc\xff", "A=2", "bad")
	want := `{
  "time": "2023-11-14T22:13:20Z",
  "namespace": "default",
  "pod": "web",
  "container": "app",
  "profile": "chroot",
  "pid": 7,
  "variables": [
    {
      "name": "A",
      "value": "1",
      "from": {
        "kind": "other"
      }
    },
    {
      "name": "B",
      "value": "\ufffd",
      "bytes": "/w==",
      "from": {
        "kind": "other"
      }
    },
    {
      "name": "TOKEN",
      "value": "********",
      "masked": true,
      "from": {
        "kind": "other"
      }
    },
    {
      "name": "A",
      "value": "2",
      "repeated": true,
      "from": {
        "kind": "other"
      }
    }
  ],
  "unnamed": 1
}
`
	if stdout != want || stderr != "" {
		t.Errorf("env -o json printed %s, stderr %q, want %s", stdout, stderr, want)
	}
}

// TestNotes says on stderr what the output lacks.
func TestNotes(t *testing.T) {
	d := document{Missing: []string{"A", "B"}, Unnamed: 2, Cut: true, Variables: []variable{{Name: "X", Masked: true}}}
	got := strings.Join(d.notes(), "\n")
	want := "1 value is masked (--show shows them)\n" +
		"the pod's spec sets variables that the process does not have: A, B\n" +
		"left out 2 entries without a name: the process has written over its environment\n" +
		"the environment is longer than 1048576 bytes; the rest was left out"
	if got != want {
		t.Errorf("notes = %s\nwant %s", got, want)
	}
}

// TestEnvironmentIsDenied says why, in the words of the program in the pod, with its hint.
func TestEnvironmentIsDenied(t *testing.T) {
	fakecluster.KeepHome(t)
	cluster := &fakecluster.Fake{RunExec: func(_ context.Context, _ int, e kube.ExecRequest) error {
		_, _ = io.WriteString(e.Stderr, "kdiag: read the environment of process 1: permission denied: why\nhint: --profile=chroot\n")
		return &kube.CommandExitError{Code: 1}
	}}
	request := containers.Request{Pod: kube.Selection{Kind: "pods", Name: "web"}, Container: "app", Timeout: time.Minute}
	err := options{output: formatText}.showEnvironment(t.Context(), cluster, request, applets.Streams{Out: io.Discard, Err: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "permission denied: why") || strings.Join(applets.Hints(err), "") != "--profile=chroot" || applets.ExitCode(err) != 1 {
		t.Errorf("showEnvironment = %v, hints %q, want what inspect said, with code 1", err, applets.Hints(err))
	}
}
