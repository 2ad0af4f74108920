package redir

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/laptop/redirectclient"
	"kdiag/applets/internal/laptop/statusline"
	"kdiag/applets/internal/testkit/fakecluster"
	"kdiag/kube"
	"kdiag/mux/wire"
)

var eventTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// allEvents are one event of each kind, whose texts are all text.
func allEvents(text string) []func(redirectclient.Observer) {
	pod := redirectclient.Pod{Namespace: text, Name: text}
	spec := redirectclient.Spec{Outgoing: true, Host: text, Port: 80, Local: text}
	connection := redirectclient.Connection{
		Pod: pod, Redirect: spec, Source: netip.MustParseAddrPort("10.0.0.1:1"), Destination: netip.MustParseAddrPort("10.0.0.2:80"),
	}
	addresses := []netip.Addr{netip.MustParseAddr("10.0.0.2")}
	err := errors.New(text)

	return []func(redirectclient.Observer){
		func(o redirectclient.Observer) {
			o.RedirectStarted(redirectclient.RedirectStarted{Pod: pod, Redirect: spec, Backend: text, Mesh: text, Established: 2, TakenOver: 1, Addresses: addresses, Unproven: text})
		},
		func(o redirectclient.Observer) {
			o.RedirectMoved(redirectclient.RedirectMoved{Pod: pod, Redirect: spec, Addresses: addresses, Added: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.2:80"), netip.MustParseAddrPort("10.0.0.3:8080")}})
		},
		func(o redirectclient.Observer) { o.ConnectionOpened(connection) },
		func(o redirectclient.Observer) {
			o.ConnectionRefused(redirectclient.ConnectionRefused{Connection: connection, Err: err})
		},
		func(o redirectclient.Observer) {
			o.ConnectionClosed(redirectclient.ConnectionClosed{Connection: connection, Received: 1, Sent: 2, Duration: time.Second, Err: err})
		},
		func(o redirectclient.Observer) { o.Problem(redirectclient.Problem{Pod: pod, Err: err}) },
		func(o redirectclient.Observer) {
			o.DrainStarted(redirectclient.DrainStarted{Pod: pod, Open: 1, Limit: time.Second})
		},
		func(o redirectclient.Observer) { o.SessionLost(redirectclient.SessionLost{Pod: pod, Err: err}) },
		func(o redirectclient.Observer) {
			o.Finished(redirectclient.Summary{Pod: pod, Counters: redirectclient.Counters{Total: 3, Refused: 1, Received: 4, Sent: 5}, Duration: time.Second})
		},
		func(o redirectclient.Observer) {
			o.Disconnected(redirectclient.Disconnected{Pod: pod, Err: err, Grace: time.Minute})
		},
		func(o redirectclient.Observer) {
			o.Reconnected(redirectclient.Reconnected{Pod: pod, After: 4200 * time.Millisecond, Kept: 12, Cut: 1, Renewed: true})
		},
		func(o redirectclient.Observer) { o.PodChosen(redirectclient.PodChosen{Pod: pod, Of: 3}) },
		func(o redirectclient.Observer) {
			o.RedirectStarted(redirectclient.RedirectStarted{
				Pod: pod, Redirect: redirectclient.Spec{Port: 8080, Local: text, PortName: text, Service: text, ServicePort: 80}, Backend: text,
				Listening: wire.ListeningLoopback, Declared: redirectclient.Declaration{Protocol: text, Container: text, Reason: text},
			})
		},
		func(o redirectclient.Observer) {
			o.ConnectionsReset(redirectclient.ConnectionsReset{Pod: pod, Redirect: spec, Count: 104, Reason: text})
		},
		func(o redirectclient.Observer) {
			o.Paused(redirectclient.Paused{Pod: pod, Open: 2, Grace: time.Minute})
		},
		func(o redirectclient.Observer) {
			o.Finished(redirectclient.Summary{Pod: pod, Counters: redirectclient.Counters{Total: 3, Cut: 2, Reset: 104}, Duration: time.Second})
		},
	}
}

func newLines(out io.Writer) *lineWriter {
	return &lineWriter{out: out, above: func(write func()) { write() }, now: func() time.Time { return eventTime }}
}

// TestObserversArePrintable has a manager's own words in every text of an event.
func TestObserversArePrintable(t *testing.T) {
	const hostile = "evil\x1b[2J\x1b]0;x\x07\u009b\x7f\n\u202e\u2028"
	for i, send := range allEvents(hostile) {
		var text, document bytes.Buffer
		send(textEvents{newLines(&text)})
		send(jsonEvents{newLines(&document)})
		for _, got := range []string{text.String(), document.String()} {
			if got == "" && i == 7 {
				continue // the loss of the session is no line of text
			}
			if strings.Count(got, "\n") != 1 || strings.ContainsAny(strings.TrimSuffix(got, "\n"), "\x1b\x07\u009b\x7f\n\u202e\u2028") {
				t.Errorf("event %d is written as %q, want one printable line", i, got)
			}
		}

		var fields map[string]any
		if err := json.Unmarshal(document.Bytes(), &fields); err != nil || fields["pod"] != hostile || fields["namespace"] != hostile {
			t.Errorf("event %d as JSON is %q, %v, want the pod as it is", i, document.String(), err)
		}
	}
}

func TestJSONFields(t *testing.T) {
	want := []string{
		`{"time":"2026-01-02T03:04:05Z","event":"redirect","namespace":"x","pod":"x","redirect":"outgoing x:80","local":"x","backend":"x","mesh":"x","established":2,"takenOver":1,"addresses":["10.0.0.2"],"unproven":"x"}`,
		`{"time":"2026-01-02T03:04:05Z","event":"moved","namespace":"x","pod":"x","redirect":"outgoing x:80","addresses":["10.0.0.2"],"added":["10.0.0.2:80","10.0.0.3:8080"]}`,
		`{"time":"2026-01-02T03:04:05Z","event":"open","namespace":"x","pod":"x","redirect":"outgoing x:80","local":"x","source":"10.0.0.1:1","destination":"10.0.0.2:80"}`,
		`{"time":"2026-01-02T03:04:05Z","event":"refused","namespace":"x","pod":"x","redirect":"outgoing x:80","local":"x","source":"10.0.0.1:1","destination":"10.0.0.2:80","error":"x"}`,
		`{"time":"2026-01-02T03:04:05Z","event":"close","namespace":"x","pod":"x","redirect":"outgoing x:80","local":"x","source":"10.0.0.1:1","destination":"10.0.0.2:80","received":1,"sent":2,"seconds":1,"error":"x"}`,
		`{"time":"2026-01-02T03:04:05Z","event":"error","namespace":"x","pod":"x","error":"x"}`,
		`{"time":"2026-01-02T03:04:05Z","event":"draining","namespace":"x","pod":"x","open":1,"seconds":1}`,
		`{"time":"2026-01-02T03:04:05Z","event":"lost","namespace":"x","pod":"x","error":"x"}`,
		`{"time":"2026-01-02T03:04:05Z","event":"summary","namespace":"x","pod":"x","connections":3,"refused":1,"received":4,"sent":5,"seconds":1}`,
		`{"time":"2026-01-02T03:04:05Z","event":"disconnected","namespace":"x","pod":"x","error":"x"}`,
		`{"time":"2026-01-02T03:04:05Z","event":"reconnected","namespace":"x","pod":"x","seconds":4.2,"kept":12,"cut":1,"renewed":true}`,
		`{"time":"2026-01-02T03:04:05Z","event":"pod","namespace":"x","pod":"x","of":3}`,
		`{"time":"2026-01-02T03:04:05Z","event":"redirect","namespace":"x","pod":"x","redirect":"8080","local":"x","backend":"x","portName":"x","service":"x","servicePort":80,"listening":"loopback","declaredProtocol":"x","idleContainer":"x"}`,
		`{"time":"2026-01-02T03:04:05Z","event":"reset","namespace":"x","pod":"x","redirect":"outgoing x:80","count":104,"error":"x"}`,
		`{"time":"2026-01-02T03:04:05Z","event":"paused","namespace":"x","pod":"x","open":2,"seconds":60}`,
		`{"time":"2026-01-02T03:04:05Z","event":"summary","namespace":"x","pod":"x","connections":3,"refused":0,"cut":2,"reset":104,"received":0,"sent":0,"seconds":1}`,
	}
	for i, send := range allEvents("x") {
		var got bytes.Buffer
		send(jsonEvents{newLines(&got)})
		if got.String() != want[i]+"\n" {
			t.Errorf("event %d is %s, want %s", i, got.String(), want[i])
		}
	}
}

func TestText(t *testing.T) {
	var got strings.Builder
	for _, send := range allEvents("x") {
		send(textEvents{newLines(&got)})
	}

	const want = `outgoing x:80 → x (x); to 10.0.0.2; closed 1 established connection; 2 established connections stay as they are (--take-over closes them); x: redirects only what the mesh's proxy passes to the application; could not be tested: x
outgoing x:80 now also leads to 10.0.0.2, 10.0.0.3:8080
10.0.0.1:1 → outgoing x:80  opened
10.0.0.1:1 → outgoing x:80  reset: x
10.0.0.1:1 → outgoing x:80  1 B in, 2 B out, 1s  reset: x
x
new connections go where they went before; open connections: 1, which may go on for up to 1s (Ctrl-C resets them)
connections: 3 in 1s, 1 of them refused on this machine; 4 B in, 5 B out
lost the connection to pod x/x: x; connecting again (open connections wait, up to 1m)
connected again after 4.2s, and redirected anew; connections kept: 12, cut: 1
redirecting pod x/x (1 of 3)
8080 (port x of service x) → x (x); the pod listens on it on loopback only, where callers from outside do not reach it; the pod declares it for x, but only TCP is redirected; container x, which declares it, is not running: x
outgoing x:80: 104 connections were reset in the pod: x
stopped by Ctrl-Z: new connections go where they went before; open connections: 2, which wait for up to 1m (fg redirects them again)
connections: 3 in 1s, 2 reset at the end of the session, 104 more reset before they reached this machine; 0 B in, 0 B out
`
	if got.String() != want {
		t.Errorf("text:\n%s\nwant:\n%s", got.String(), want)
	}
}

// TestDetail holds which events of connections each level prints.
func TestDetail(t *testing.T) {
	for level, want := range map[detail][]string{
		detailRedirects:   {"refused"},
		detailConnections: {"refused", "close"},
		detailAll:         {"open", "refused", "close"},
	} {
		var out bytes.Buffer
		observer := filter{jsonEvents{newLines(&out)}, level}
		for _, send := range allEvents("x")[2:5] {
			send(observer)
		}

		var got []string
		for line := range strings.Lines(out.String()) {
			var e eventJSON
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			got = append(got, e.Event)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("detail %d prints %q, want %q", level, got, want)
		}
	}
}

// TestNothingBelowSummary takes the counters away before the summary comes, and
// stop may be called again after it.
func TestNothingBelowSummary(t *testing.T) {
	var out strings.Builder
	line := statusline.New(io.Discard)
	counters := counterLine{line: line}
	counters.start(func() string { return "counters" })
	observer := lastWord{textEvents{newLines(&out)}, func() {
		counters.stop()
		out.WriteString("line ended\n")
	}}

	allEvents("x")[8](observer)
	counters.stop()
	if want := "line ended\nconnections: "; !strings.HasPrefix(out.String(), want) {
		t.Errorf("output %q, want it to begin with %q", out.String(), want)
	}
}

// redirect runs the command on a cluster.
func redirect(t *testing.T, c cluster, container string) error {
	t.Helper()
	return redirectWith(t, c, container, options{output: "text"})
}

// redirectWith runs the command on a cluster, with options.
func redirectWith(t *testing.T, c cluster, container string, o options) error {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", home)
	request := containers.Request{
		Pod: kube.Selection{Kind: "pods", Name: "web"}, Container: container, Image: "i", Version: "v1", Timeout: time.Minute,
	}
	streams := applets.Streams{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard}
	return redirectTarget(t.Context(), c, request, o, streams)
}

// TestManagerOfAnotherKdiag says what is wrong before it connects to anything.
func TestManagerOfAnotherKdiag(t *testing.T) {
	const key = `"key":"k"`
	for line, want := range map[string]string{
		`{"role":"net","door":1,"protocol":1,` + key + `}`:  "upgrade the image in the pod (--image)",
		`{"role":"net","door":1,"protocol":99,` + key + `}`: "upgrade kdiag on this machine",
		`{"role":"net","door":1,"protocol":2}`:              "check that i is an image of this kdiag",
		`{"role":"shell","pid":1}`:                          "check that i is an image of this kdiag",
		`{}`:                                                "check that i is an image of this kdiag",
		`{"role":"net","door":1,"protocol":2,` + key + `}`:  "",
	} {
		cluster := &fakecluster.Fake{Line: line}
		err := redirect(t, cluster, "")
		hints := strings.Join(applets.Hints(err), "; ")
		if err == nil || hints != want {
			t.Errorf("manager that says %s: %v, hints %q, want %q", line, err, hints, want)
		}
		if nets := cluster.Nets(); len(nets) != 1 || nets[0].Image != "i" || len(nets[0].Manager.User) != 43 {
			t.Errorf("asked for %+v, want one net container of this user's", nets)
		}
	}
}

func TestContainerMustBeThere(t *testing.T) {
	cluster := &fakecluster.Fake{}
	err := redirect(t, cluster, "nothere")
	if err == nil || !strings.Contains(err.Error(), "nothere") || len(cluster.Nets()) != 0 {
		t.Errorf("redirectTarget = %v with %d containers, want an error and none", err, len(cluster.Nets()))
	}
}

// TestHolderName is who others are told of.
func TestHolderName(t *testing.T) {
	if name := holderName(); !strings.Contains(name, "@") {
		t.Errorf("holderName = %q, want USER@HOST", name)
	}
}

var _ clusterAPI = (*fakecluster.Fake)(nil)

// TestContainerPorts looks from a shell container beside the one that is named.
func TestContainerPorts(t *testing.T) {
	snapshot := wire.Snapshot{
		Time:    eventTime,
		Sockets: []wire.Socket{{Protocol: "tcp", State: wire.StateListen, Local: "0.0.0.0:8080", PIDs: []int{1}}},
	}
	hidden := wire.Hidden{Processes: []wire.HiddenProcesses{{Reason: "another user", Count: 1}}}

	for _, c := range []struct {
		name    string
		hidden  wire.Hidden
		sockets []wire.Socket
		ports   []uint16
		problem string
		err     string
	}{
		{"all seen", wire.Hidden{}, snapshot.Sockets, []uint16{8080}, "", ""},
		{"some hidden", hidden, snapshot.Sockets, []uint16{8080}, "the sockets of some processes are hidden: another user", ""},
		{"all hidden", hidden, nil, nil, "", "hidden: another user"},
		{"none", wire.Hidden{}, nil, nil, "", "none of its processes listens on"},
	} {
		t.Run(c.name, func(t *testing.T) {
			taken := snapshot
			taken.Hidden, taken.Sockets = c.hidden, c.sockets
			cluster := &fakecluster.Fake{RunExec: func(_ context.Context, _ int, e kube.ExecRequest) error {
				return json.NewEncoder(e.Stdout).Encode(taken)
			}}
			handle := containers.NewNet(cluster, containers.Request{Container: "app", Timeout: time.Minute}, containers.NotesTo(io.Discard))
			// The session fails for want of a manager; the pod is found by then.
			_, _ = handle.OpenSession(t.Context(), redirectclient.New(redirectclient.Config{}, nil).SessionOptions())

			var problems strings.Builder
			ports, err := findContainerPorts(t.Context(), handle, "app", textEvents{newLines(&problems)})
			if !reflect.DeepEqual(ports, c.ports) || !strings.Contains(problems.String(), c.problem) || c.problem == "" && problems.String() != "" {
				t.Errorf("ports %v, problems %q, want %v and %q", ports, problems.String(), c.ports, c.problem)
			}
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}

			asked := cluster.Shells()
			if len(asked) != 1 || asked[0].Target.Container != "app" || asked[0].Manager.Profile != kube.ProfileAuto {
				t.Errorf("asked for %+v, want a shell container beside app", asked)
			}
		})
	}
}
