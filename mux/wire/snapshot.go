package wire

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// MaxSnapshot is how many bytes a snapshot may have as JSON, on one line.
const MaxSnapshot = 16 << 20

// Snapshot is a container at one moment.
type Snapshot struct {
	Time time.Time `json:"time"`
	// Processes are in the order of their PIDs.
	Processes []Process `json:"processes"`
	Sockets   []Socket  `json:"sockets"`
	Hidden    Hidden    `json:"hidden"`
	// Cut says, a sentence each, what was left out for being too much.
	Cut []string `json:"cut"`
}

// Process is one process. PIDs are as the pod's shell container sees them.
type Process struct {
	PID  int `json:"pid"`
	PPID int `json:"ppid"`
	// UID is the effective one.
	UID int `json:"uid"`
	// User is what the container's /etc/passwd calls it; empty if nothing does.
	User string `json:"user,omitempty"`
	// State is a letter of ps(1).
	State string `json:"state"`
	// Start is missing where the machine does not tell when it was started.
	Start *time.Time `json:"start,omitempty"`
	// RSS is the resident memory in bytes.
	RSS uint64 `json:"rss"`
	// CPU is the time in user and in kernel mode, in seconds.
	CPU     float64 `json:"cpuSeconds"`
	Threads int     `json:"threads"`
	// Name is the first 15 bytes of the program's name, or what the process
	// chose in its place.
	Name string `json:"name"`
	// Command is empty for a zombie.
	Command []string `json:"command"`
	// CommandCut says that Command is only the beginning.
	CommandCut bool `json:"commandCut,omitempty"`
}

// Socket is one that processes of the container have open.
type Socket struct {
	// Protocol is tcp, tcp6, udp, udp6 or unix.
	Protocol string `json:"protocol"`
	// State is the kernel's: LISTEN, ESTABLISHED, CLOSE_WAIT …; UNCONN for UDP
	// that is not connected.
	State string `json:"state"`
	// Local and Remote are ADDRESS:PORT; a UNIX socket's Local is its path, or
	// @NAME. Remote is empty where there is none.
	Local  string `json:"local"`
	Remote string `json:"remote,omitempty"`
	// UID is the owner's, -1 for UNIX sockets, of which it is not known.
	UID   int    `json:"uid"`
	Inode uint64 `json:"inode"`
	// PIDs are the processes that have it. It is empty where no process is
	// known to have it and the sockets of some are hidden.
	PIDs []int `json:"pids"`
}

// Hidden counts what the reader had no right to see.
type Hidden struct {
	// Processes are those whose sockets are hidden, by the reason.
	Processes []HiddenProcesses `json:"processes"`
	// Sockets of the network namespace could not be given to a process. They
	// are the hidden processes' or another container's. 0 where no process is
	// hidden.
	Sockets int `json:"sockets"`
}

// Count is how many processes' sockets are hidden.
func (h Hidden) Count() int {
	count := 0
	for _, p := range h.Processes {
		count += p.Count
	}
	return count
}

// Reasons are why, in one line.
func (h Hidden) Reasons() string {
	texts := make([]string, len(h.Processes))
	for i, p := range h.Processes {
		texts[i] = p.Reason
	}
	return strings.Join(texts, "; ")
}

// HiddenProcesses are processes whose sockets are hidden for one reason.
type HiddenProcesses struct {
	Reason string `json:"reason"`
	Count  int    `json:"count"`
}

// The states that are a listener's.
const (
	StateListen      = "LISTEN"
	StateUnconnected = "UNCONN"
)

// Listening reports whether the socket waits for anybody.
func (s Socket) Listening() bool { return s.State == StateListen || s.State == StateUnconnected }

// Ports are the TCP ports that processes of the container listen on outside
// loopback, each once, in order.
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

// ParseSnapshot reads a snapshot from a line of JSON.
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
