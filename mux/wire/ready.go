package wire

import (
	"encoding/json"
	"errors"
	"io"
)

// Ready is the line of JSON by which a manager says that it is ready. It stands
// in the log of its container.
type Ready struct {
	Role    string `json:"role"` // RoleShell or RoleNet
	Version string `json:"version"`
	PID     int    `json:"pid"`
	// Protocol is the version of the link that a net manager speaks. One of
	// version 1 does not say so.
	Protocol byte `json:"protocol,omitempty"`
	// Port is where a net manager listens, on the pod's loopback. Laptops of
	// version 1 of the protocol look for it under another name, and find OlderPort:
	// there they learn that they are too old.
	Port      uint16 `json:"door,omitempty"`
	OlderPort uint16 `json:"port,omitempty"`
	// Key is the hash of the manager's public key, by which the laptop pins it.
	Key string `json:"key,omitempty"`
	// Nftables is what a net manager found the kernel to have: NftOwner,
	// NftPlain, or why there is no nftables.
	Nftables string `json:"nftables,omitempty"`
}

// The roles of a manager: it waits beside shells, or redirects connections.
const (
	RoleShell = "shell"
	RoleNet   = "net"
)

// What Ready.Nftables says of a kernel that has nftables: with the owner flag,
// by which the kernel removes a dead manager's table, or without.
const (
	NftOwner = "owner"
	NftPlain = "plain"
)

// Print writes the line.
func (r Ready) Print(out io.Writer) error { return json.NewEncoder(out).Encode(r) }

// ParseReady reads the line. It refuses JSON that names no role: anything at
// all may run in a container.
func ParseReady(line []byte) (Ready, error) {
	var ready Ready
	if err := json.Unmarshal(line, &ready); err != nil {
		return Ready{}, err
	}
	if ready.Role == "" {
		return Ready{}, errors.New("no role")
	}

	return ready, nil
}

// Serves reports whether a net manager says where it listens, and which key it
// is known by.
func (r Ready) Serves() bool { return r.Port != 0 && r.Key != "" }
