package ps

import (
	"bytes"
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"kdiag/kube"
	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)

// sample is a document with something of everything in it.
func sample(t *testing.T) (document, []string) {
	t.Helper()
	start, old := now.Add(-time.Hour), now.Add(-100*time.Hour)
	taken := wire.Snapshot{
		Time: now,
		Processes: []wire.Process{
			{PID: 1, UID: 1000, User: "app", State: "S", Start: &start, RSS: 12 << 20, CPU: 1.25, Threads: 3, Name: "app", Command: []string{"/bin/app", "--x\x1b[2J\n", "é\xff"}, CommandCut: true},
			{PID: 22, PPID: 1, UID: 5, State: "Z", Start: &old, Threads: 1, Name: "gone", Command: []string{}},
			{PID: 23, PPID: 1, UID: 5, State: "S", Name: "x", Command: []string{"worker"}},
		},
		Sockets: []wire.Socket{
			{Protocol: "tcp6", State: "LISTEN", Local: "[::]:80", Inode: 7, PIDs: []int{1, 23, 24, 25, 26}},
			{Protocol: "unix", State: "LISTEN", Local: "@a\tb", Inode: 8, UID: -1, PIDs: []int{}},
			{Protocol: "udp", State: "UNCONN", Local: "0.0.0.0:53", Inode: 9, PIDs: []int{22}},
			{Protocol: "tcp", State: "ESTABLISHED", Local: "10.0.0.1:80", Remote: "10.0.0.2:1234", Inode: 10, PIDs: []int{1}},
			{Protocol: "tcp", State: "SYN_SENT", Local: "10.0.0.1:81", Remote: "192.0.2.1:5", Inode: 11, PIDs: []int{1}},
		},
		Hidden: wire.Hidden{Processes: []wire.HiddenProcesses{{Reason: "a", Count: 2}, {Reason: "b", Count: 1}}, Sockets: 4},
		Cut:    []string{"more than 2 processes"},
	}

	target := kube.TargetContainer{Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "pod"}}, Container: "c"}
	d := newDocument(target, kube.Injected{Profile: kube.ProfileBaseline}, taken)
	known := &peerResolver{now: func() time.Time { return now }, list: func(context.Context) (kube.Peers, []string) {
		return kube.Peers{netip.MustParseAddr("10.0.0.2"): {Kind: "pod", Namespace: "ns", Name: "peer"}}, []string{"not allowed to list services"}
	}}
	known.startQuery(t.Context())
	return d, d.addConnected(t.Context(), taken, known)
}

func TestTables(t *testing.T) {
	d, _ := sample(t)
	var text strings.Builder
	writeTables(&text, d, false, 0)
	const want = `PID  USER  STATE  START       RSS       CPU   COMMAND
1    app   S      02:04:05    12.0 MiB  1.3s  /bin/app --x�[2J  é�…
22   5     Z      2025-12-28  0 B       0s    [gone]
23   5     S      ?           0 B       0s    worker

PROTO  LISTENING   PROCESS
tcp6   [::]:80     1/app 23/worker 24/? +2
unix   @a b        ?
udp    0.0.0.0:53  22/gone

PROTO  STATE        LOCAL        REMOTE         PEER         PROCESS
tcp    ESTABLISHED  10.0.0.1:80  10.0.0.2:1234  pod ns/peer  1/app
tcp    SYN_SENT     10.0.0.1:81  192.0.2.1:5    -            1/app
`

	if text.String() != want {
		t.Errorf("tables:\n%s\nwant\n%s", text.String(), want)
	}

	text.Reset()
	writeTables(&text, d, true, 0)
	for _, part := range []string{"PID  PPID  USER  UID   STATE", "22   1     5     5     Z      2025-12-28 23:04:05", "INODE\n", "pod ns/peer  1/app    10\n"} {
		if !strings.Contains(text.String(), part) {
			t.Errorf("wide tables:\n%s\nwant %q", text.String(), part)
		}
	}

	text.Reset()
	writeTables(&text, document{Time: now, Connected: []connectedSocket{}}, false, 0)
	if !strings.HasSuffix(text.String(), "\nno listening sockets\n\nno connected sockets\n") {
		t.Errorf("tables of nothing: %q", text.String())
	}

	text.Reset()
	writeTables(&text, d, false, 45)
	if lines := strings.Split(text.String(), "\n"); lines[1] != "1    app   S      02:04:05    12.0 MiB  1.3s…" || !strings.HasSuffix(lines[len(lines)-2], "1/app") {
		t.Errorf("tables of 45 columns:\n%s\nwant command lines cut, and sockets whole", text.String())
	}
}

func TestLimitNotes(t *testing.T) {
	d, peers := sample(t)
	want := []string{"some peers are shown by address only: not allowed to list services"}
	if !slices.Equal(peers, want) {
		t.Errorf("notes on peers = %q, want %q", peers, want)
	}

	want = []string{
		"hidden with profile baseline: the sockets of 3 of 3 processes (a; b), and the processes of 4 sockets",
		"left out: more than 2 processes",
	}
	if got := d.limitNotes(); !slices.Equal(got, want) {
		t.Errorf("limitNotes = %q, want %q", got, want)
	}
	if got := (&document{}).limitNotes(); len(got) > 0 {
		t.Errorf("notes of nothing = %q", got)
	}
}

// TestJSON holds the names that programs read.
func TestJSON(t *testing.T) {
	d, _ := sample(t)
	keys := func(d document) []string {
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}

		var fields map[string]any
		if err := json.Unmarshal(text, &fields); err != nil {
			t.Fatal(err)
		}

		var names []string
		for name := range fields {
			names = append(names, name)
		}

		slices.Sort(names)
		return names
	}

	want := strings.Fields("connected container cut hidden listening namespace pod processes profile time")
	if got := keys(d); !slices.Equal(got, want) {
		t.Errorf("fields = %v, want %v", got, want)
	}

	// Without --sockets there is no field, with it an empty list is one.
	d.Connected = nil
	if got := keys(d); slices.Contains(got, "connected") {
		t.Errorf("fields without --sockets = %v", got)
	}

	d.Connected = []connectedSocket{}
	if got := keys(d); !slices.Contains(got, "connected") {
		t.Errorf("fields with --sockets and no connection = %v", got)
	}

	peer := &kube.Peer{Kind: "node", Name: "n"}
	text, _ := json.Marshal(connectedSocket{wire.Socket{Protocol: "tcp", PIDs: []int{}}, peer})
	if want := `{"protocol":"tcp","state":"","local":"","uid":0,"inode":0,"pids":[],"peer":{"kind":"node","name":"n"}}`; string(text) != want {
		t.Errorf("connectedSocket = %s, want %s", text, want)
	}
}

// newTestView is a view on a terminal of a size, or on none.
func newTestView(o options, columns, lines int) (v *view, out, err *bytes.Buffer) {
	out, err = &bytes.Buffer{}, &bytes.Buffer{}
	v = &view{options: o, out: out, err: err, size: func() (int, int, bool) { return columns, lines, columns > 0 }}
	return v, out, err
}

func TestView(t *testing.T) {
	d, _ := sample(t)
	show := func(v *view, notes ...string) {
		t.Helper()
		if err := v.showDocument(d, notes); err != nil {
			t.Errorf("showDocument: %v", err)
		}
	}

	v, out, err := newTestView(options{output: "json", watch: true}, 80, 24)
	show(v, "a")
	show(v, "a")
	show(v, "b\x1b")
	if strings.Count(out.String(), "\n") != 3 || err.String() != "note: a\nnote: b�\n" {
		t.Errorf("JSON with --watch: %q, %q, want 3 lines, and each note once", out, err)
	}

	v, out, _ = newTestView(options{output: "json"}, 0, 0)
	show(v)
	if !strings.HasPrefix(out.String(), "{\n  \"time\"") {
		t.Errorf("JSON: %q, want it indented", out)
	}

	v, out, err = newTestView(options{output: "text", watch: true}, 0, 0)
	show(v, "a")
	show(v, "a")
	if strings.Contains(out.String(), "\x1b") || strings.Count(out.String(), "2026-01-02 03:04:05  pod ns/pod, container c\n") != 2 || err.String() != "note: a\n" {
		t.Errorf("--watch without a terminal: %q, %q", out, err)
	}
}

// TestRedrawSequence is one picture in the place of another, no larger than the window.
func TestRedrawSequence(t *testing.T) {
	d, _ := sample(t)
	v, out, err := newTestView(options{output: "text", watch: true, interval: 2 * time.Second}, 40, 6)
	for range 2 {
		if err := v.showDocument(d, []string{"a"}); err != nil {
			t.Errorf("showDocument: %v", err)
		}
	}

	if err.Len() > 0 {
		t.Errorf("stderr = %q, want nothing in the middle of the picture", err)
	}

	pictures := strings.Split(out.String(), home)
	if len(pictures) != 3 || !strings.HasPrefix(pictures[1], clearRest) || strings.HasPrefix(pictures[2], clearRest) {
		t.Fatalf("pictures = %q, want two, the first on an empty screen", pictures)
	}

	lines := strings.Split(pictures[2], clearLine+"\n")
	if len(lines) != 6 || lines[4] != "… 12 more lines" || lines[5] != clearRest {
		t.Errorf("lines = %q, want 5 and the rest cleared", lines)
	}

	for _, line := range lines {
		if n := len([]rune(line)); n > 40 {
			t.Errorf("line of %d columns: %q", n, line)
		}
	}
}

func TestPeerResolver(t *testing.T) {
	clock, asked := now, 0
	one, two := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	r := &peerResolver{now: func() time.Time { return clock }, list: func(context.Context) (kube.Peers, []string) {
		asked++
		peers := kube.Peers{one: {Kind: "pod", Name: "one"}}
		if asked > 1 {
			peers[two] = kube.Peer{Kind: "pod", Name: "two"}
		}
		return peers, nil
	}}

	r.startQuery(t.Context())
	for _, c := range []struct {
		after time.Duration
		of    netip.Addr
		asked int
		name  string
	}{
		{time.Hour, one, 1, "one"}, {0, netip.MustParseAddr("127.0.0.1"), 1, ""}, {0, two, 2, "two"},
		{time.Second, netip.MustParseAddr("10.0.0.3"), 2, ""}, {askAgainAfter, netip.MustParseAddr("10.0.0.3"), 3, ""},
	} {
		clock = clock.Add(c.after)
		peers, _ := r.findPeers(t.Context(), []netip.Addr{c.of})
		if peers[c.of].Name != c.name || asked != c.asked {
			t.Errorf("findPeers(%v) = %v after asking %d times, want %q after %d", c.of, peers[c.of], asked, c.name, c.asked)
		}
	}
}
