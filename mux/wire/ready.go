package wire

import (
	"encoding/json"
	"errors"
	"io"
)

// Ready is the line of JSON that a manager prints, into its container's log, when it is ready.
type Ready struct {
	Role    string `json:"role"` // RoleShell, RoleNet or RoleCapture
	Version string `json:"version"`
	PID     int    `json:"pid"`
	// Protocol is the version of the protocol that a net manager speaks. One with version 1
	// does not say so.
	Protocol byte `json:"protocol,omitempty"`
	// Port is where a net manager listens, on the pod's loopback. A laptop that speaks
	// version 1 of the protocol reads "port" instead, connects to OlderPort, and learns there
	// that it is too old.
	Port      uint16 `json:"door,omitempty"`
	OlderPort uint16 `json:"port,omitempty"`
	// Key is the hash of the manager's public key, which the laptop pins.
	Key string `json:"key,omitempty"`
	// Nftables says what a net manager found in the kernel: NftOwner, NftPlain, or why there
	// is no nftables.
	Nftables string `json:"nftables,omitempty"`
}

// A manager has one of these roles: it waits beside shells, redirects connections, or waits beside
// captures of packets.
const (
	RoleShell   = "shell"
	RoleNet     = "net"
	RoleCapture = "capture"
)

// Ready.Nftables has one of these values if the kernel has nftables: with the owner flag, so
// that the kernel removes a dead manager's table, or without.
const (
	NftOwner = "owner"
	NftPlain = "plain"
)

// Print writes the line.
func (r Ready) Print(out io.Writer) error { return json.NewEncoder(out).Encode(r) }

// ParseReady parses the line. It refuses JSON without a role, because a container may run
// anything at all.
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

// Serves reports whether a net manager says on which port it listens, and with which key.
func (r Ready) Serves() bool { return r.Port != 0 && r.Key != "" }
