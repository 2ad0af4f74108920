package kit

import (
	"encoding/json"
	"slices"
	"strconv"
	"testing"
)

// ProcessReport carries what "ps -o json" prints, as far as tests read it, and how
// it ended.
type ProcessReport struct {
	Result `json:"-"`

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

// ReportedSocket carries a socket of a report, and who is connected to it.
type ReportedSocket struct {
	Protocol, State, Local, Remote string
	PIDs                           []int
	Peer                           *struct{ Kind, Namespace, Name string }
}

// RunPs runs "ps -o json", which must succeed.
func RunPs(t *testing.T, args ...string) ProcessReport {
	t.Helper()
	got := RunKdiag(t, append([]string{"ps", "-o", "json"}, args...)...)
	report := ProcessReport{Result: got}
	if err := json.Unmarshal([]byte(got.Stdout), &report); err != nil || got.Code != 0 {
		t.Fatalf("ps %q: %v\n%v", args, err, got)
	}
	return report
}

// FindPeer names what is at the other end of the connection to an address.
func (r ProcessReport) FindPeer(address string) string {
	for _, s := range r.Connected {
		if s.Remote == address && s.Peer != nil {
			return s.Peer.Kind + " " + s.Peer.Namespace + "/" + s.Peer.Name
		}
		if s.Remote == address {
			return "nothing known"
		}
	}
	return "no connection"
}

// VerifySoleProcess fails the test unless the application is the only process,
// and has the only socket that listens.
func (r ProcessReport) VerifySoleProcess(t *testing.T, uid string) {
	t.Helper()
	if len(r.Processes) != 1 || len(r.Listening) != 1 {
		t.Fatalf("ps = %+v, want one process and one listener", r)
	}

	p := r.Processes[0]
	if p.Command[0] != "/app" || strconv.Itoa(p.UID) != uid || p.State != "S" || p.RSS < 1<<20 || p.Threads < 2 || p.Start == "" {
		t.Errorf("process = %+v, want the application's of user %s", p, uid)
	}

	port := ":8080"
	if len(p.Command) > 1 {
		port = p.Command[1]
	}
	s := r.Listening[0]
	if s.Protocol != "tcp6" || s.Local != "[::]"+port || !slices.Equal(s.PIDs, []int{p.PID}) {
		t.Errorf("listener = %+v, want that of process %d at %s", s, p.PID, port)
	}
}
