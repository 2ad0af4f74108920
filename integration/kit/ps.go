package kit

import (
	"encoding/json"
	"slices"
	"strconv"
	"testing"
)

// ProcessReport is what "ps -o json" prints, as far as tests read it.
type ProcessReport struct {
	Namespace, Pod, Container, Profile string
	Processes                          []struct {
		PID, PPID, UID, Threads int
		User, State, Start      string
		RSS                     int64
		Command                 []string
	}
	Listening []ReportedSocket
	Connected []ReportedSocket
	Hidden    struct {
		Processes []struct {
			Reason string
			Count  int
		}
		Sockets int
	}
}

// FindPeer is what is behind the other end of the connection to an address.
func (d ProcessReport) FindPeer(address string) string {
	for _, s := range d.Connected {
		if s.Remote == address && s.Peer != nil {
			return s.Peer.Kind + " " + s.Peer.Namespace + "/" + s.Peer.Name
		}
		if s.Remote == address {
			return "nothing known"
		}
	}
	return "no connection"
}

// VerifySoleProcess checks that there is one process, the application's, and that it
// has the one socket that listens.
func (d ProcessReport) VerifySoleProcess(t *testing.T, uid string) {
	t.Helper()
	if len(d.Processes) != 1 || len(d.Listening) != 1 {
		t.Fatalf("ps = %+v, want one process and one listener", d)
	}

	p, s := d.Processes[0], d.Listening[0]
	if p.Command[0] != "/app" || strconv.Itoa(p.UID) != uid || p.State != "S" || p.RSS < 1<<20 || p.Threads < 2 || p.Start == "" {
		t.Errorf("process = %+v, want the application's of user %s", p, uid)
	}

	port := ":8080"
	if len(p.Command) > 1 {
		port = p.Command[1]
	}
	if s.Protocol != "tcp6" || s.Local != "[::]"+port || !slices.Equal(s.PIDs, []int{p.PID}) {
		t.Errorf("listener = %+v, want that of process %d at %s", s, p.PID, port)
	}
}

type ReportedSocket struct {
	Protocol, State, Local, Remote string
	PIDs                           []int
	Peer                           *struct{ Kind, Namespace, Name string }
}

// RunPs runs "ps -o json", which must succeed.
func RunPs(t *testing.T, args ...string) (ProcessReport, Result) {
	t.Helper()
	got := RunKdiag(t, append([]string{"ps", "-o", "json"}, args...)...)
	var d ProcessReport
	if err := json.Unmarshal([]byte(got.Stdout), &d); err != nil || got.Code != 0 {
		t.Fatalf("ps %q: %v\n%v", args, err, got)
	}
	return d, got
}
