package wire

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// MaxSnapshot limits the length of a snapshot's line of JSON, in bytes.
const MaxSnapshot = 16 << 20

// Snapshot lists the processes and sockets of a container at one moment.
type Snapshot struct {
	Time time.Time `json:"time"`
	// Processes is sorted by PID.
	Processes []Process `json:"processes"`
	Sockets   []Socket  `json:"sockets"`
	Hidden    Hidden    `json:"hidden"`
	// Cut says what was left out because it was too much, in a sentence each.
	Cut []string `json:"cut"`
}

// Process describes one process. The PIDs are those that the pod's shell container sees.
type Process struct {
	PID  int `json:"pid"`
	PPID int `json:"ppid"`
	// UID is the effective uid.
	UID int `json:"uid"`
	// User is the name of UID in the container's /etc/passwd; empty if it has none.
	User string `json:"user,omitempty"`
	// State is a letter, as in ps(1).
	State string `json:"state"`
	// Start is missing if the machine does not tell when it was started.
	Start *time.Time `json:"start,omitempty"`
	// RSS is the resident memory, in bytes.
	RSS uint64 `json:"rss"`
	// CPU is the time in user and kernel mode together, in seconds.
	CPU     float64 `json:"cpuSeconds"`
	Threads int     `json:"threads"`
	// Name is the first 15 bytes of the program's name, or of the name that the process gave
	// itself.
	Name string `json:"name"`
	// Command is empty for a zombie.
	Command []string `json:"command"`
	// CommandCut says that Command lacks its end.
	CommandCut bool `json:"commandCut,omitempty"`
}

// Socket describes a socket that processes of the container have open.
type Socket struct {
	// Protocol is tcp, tcp6, udp, udp6 or unix.
	Protocol string `json:"protocol"`
	// State is the kernel's: LISTEN, ESTABLISHED, CLOSE_WAIT …; UNCONN for UDP
	// that is not connected.
	State string `json:"state"`
	// Local and Remote are ADDRESS:PORT. A UNIX socket's Local is its path, or @NAME. Remote
	// is empty if there is none.
	Local  string `json:"local"`
	Remote string `json:"remote,omitempty"`
	// UID is the owner's. It is not known for UNIX sockets, which have -1.
	UID   int    `json:"uid"`
	Inode uint64 `json:"inode"`
	// PIDs lists the processes that have it open. It may be empty if the sockets of some
	// processes are hidden.
	PIDs []int `json:"pids"`
}

// Hidden counts what the reader had no right to see.
type Hidden struct {
	// Processes counts the processes whose sockets are hidden, for each reason.
	Processes []HiddenProcesses `json:"processes"`
	// Sockets counts those in the network namespace that belong to no process that was seen,
	// but to a hidden one or to another container. It is 0 if no process is hidden.
	Sockets int `json:"sockets"`
}

// Count returns how many processes have hidden sockets.
func (h Hidden) Count() int {
	count := 0
	for _, p := range h.Processes {
		count += p.Count
	}
	return count
}

// Reasons says in one line why they are hidden.
func (h Hidden) Reasons() string {
	texts := make([]string, len(h.Processes))
	for i, p := range h.Processes {
		texts[i] = p.Reason
	}

	return strings.Join(texts, "; ")
}

// HiddenProcesses counts the processes whose sockets are hidden for one reason.
type HiddenProcesses struct {
	Reason string `json:"reason"`
	Count  int    `json:"count"`
}

// Sockets that wait for peers have one of these states.
const (
	StateListen      = "LISTEN"
	StateUnconnected = "UNCONN"
)

// Listening reports whether the socket takes data or connections from anybody.
func (s Socket) Listening() bool { return s.State == StateListen || s.State == StateUnconnected }

// Ports lists the TCP ports on which processes of the container listen outside loopback, each
// once, in order.
func (s Snapshot) Ports() []uint16 {
	var ports []uint16
	for _, socket := range s.Sockets {
		address, err := netip.ParseAddrPort(socket.Local)
		tcp := socket.Protocol == "tcp" || socket.Protocol == "tcp6"
		if !tcp || socket.State != StateListen || len(socket.PIDs) == 0 || err != nil || address.Addr().Unmap().IsLoopback() {
			continue
		}
		ports = append(ports, address.Port())
	}

	slices.Sort(ports)
	return slices.Compact(ports)
}

// ParseSnapshot parses a snapshot's line of JSON.
func ParseSnapshot(line []byte) (Snapshot, error) {
	if len(line) > MaxSnapshot {
		return Snapshot{}, fmt.Errorf("%d bytes are over the limit of %d", len(line), MaxSnapshot)
	}

	var s Snapshot
	if err := json.Unmarshal(line, &s); err != nil {
		return Snapshot{}, err
	}
	if s.Time.IsZero() {
		return Snapshot{}, fmt.Errorf("not a snapshot: it has no time")
	}

	return s, nil
}
