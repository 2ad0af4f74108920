package wire

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func sample() Snapshot {
	start := time.Unix(1700000000, 0).UTC()
	return Snapshot{
		Time:      start.Add(time.Hour),
		Processes: []Process{{PID: 1, UID: 1000, User: "app", State: "S", Start: &start, RSS: 4096, CPU: 0.25, Threads: 3, Name: "app", Command: []string{"/app", "\x1b[2J"}}},
		Sockets:   []Socket{{Protocol: "tcp6", State: StateListen, Local: "[::]:80", UID: 1000, Inode: 7, PIDs: []int{1}}},
		Hidden:    Hidden{Processes: []HiddenProcesses{{"another user", 2}}, Sockets: 3},
		Cut:       []string{"a"},
	}
}

func TestParseSnapshot(t *testing.T) {
	want := sample()
	line, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseSnapshot(line); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("ParseSnapshot(%s) = %+v, %v, want %+v", line, got, err, want)
	}

	for _, bad := range []string{"", "{}", "null", "kdiag v1", `{"time":1}`, string(line) + "x", strings.Repeat(" ", MaxSnapshot+1)} {
		if got, err := ParseSnapshot([]byte(bad)); err == nil || !reflect.DeepEqual(got, Snapshot{}) {
			t.Errorf("ParseSnapshot(%.40q) = %+v, %v, want an error", bad, got, err)
		}
	}
}

// TestFields pins the names of fields that scripts read.
func TestFields(t *testing.T) {
	line, _ := json.Marshal(sample())
	const want = `{"time":"2023-11-14T23:13:20Z","processes":[{"pid":1,"ppid":0,"uid":1000,"user":"app","state":"S",` +
		`"start":"2023-11-14T22:13:20Z","rss":4096,"cpuSeconds":0.25,"threads":3,"name":"app","command":["/app","\u001b[2J"]}],` +
		`"sockets":[{"protocol":"tcp6","state":"LISTEN","local":"[::]:80","uid":1000,"inode":7,"pids":[1]}],` +
		`"hidden":{"processes":[{"reason":"another user","count":2}],"sockets":3},"cut":["a"]}`
	if string(line) != want {
		t.Errorf("JSON = %s, want %s", line, want)
	}
}

func TestPorts(t *testing.T) {
	one := []int{1}
	s := Snapshot{Sockets: []Socket{
		{Protocol: "tcp", State: StateListen, Local: "0.0.0.0:8080", PIDs: one},
		{Protocol: "tcp6", State: StateListen, Local: "[::]:8080", PIDs: one},
		{Protocol: "tcp6", State: StateListen, Local: "[fd00::1]:22", PIDs: one},
		{Protocol: "tcp", State: StateListen, Local: "127.0.0.1:1", PIDs: one},
		{Protocol: "tcp6", State: StateListen, Local: "[::1]:2", PIDs: one},
		{Protocol: "tcp6", State: StateListen, Local: "[::ffff:127.0.0.1]:3", PIDs: one},
		{Protocol: "tcp", State: "ESTABLISHED", Local: "10.0.0.1:4", PIDs: one},
		{Protocol: "udp", State: StateUnconnected, Local: "0.0.0.0:5", PIDs: one},
		{Protocol: "tcp", State: StateListen, Local: "0.0.0.0:6", PIDs: []int{}},
		{Protocol: "unix", State: StateListen, Local: "/run/x:7", PIDs: one},
		{Protocol: "tcp", State: StateListen, Local: "nonsense", PIDs: one},
	}}
	if got, want := s.Ports(), []uint16{22, 8080}; !slices.Equal(got, want) {
		t.Errorf("Ports = %v, want %v", got, want)
	}
}

func FuzzParseSnapshot(f *testing.F) {
	line, _ := json.Marshal(sample())
	f.Add(line)
	f.Fuzz(func(t *testing.T, line []byte) {
		got, err := ParseSnapshot(line)
		if err != nil {
			return
		}

		written, err := json.Marshal(got)
		if err != nil {
			// A year that RFC 3339 cannot write.
			return
		}

		if again, err := ParseSnapshot(written); err != nil || !reflect.DeepEqual(again.Ports(), got.Ports()) || len(again.Processes) != len(got.Processes) {
			t.Errorf("ParseSnapshot(%q) = %+v, but of the same written again %+v, %v", line, got, again, err)
		}
	})
}

func TestHidden(t *testing.T) {
	h := Hidden{Processes: []HiddenProcesses{{"a", 2}, {"b", 1}}}
	if h.Count() != 3 || h.Reasons() != "a; b" {
		t.Errorf("Count, Reasons = %d, %q, want 3, %q", h.Count(), h.Reasons(), "a; b")
	}
}
