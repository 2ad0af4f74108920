package wire

import "net/netip"

// The requests that a laptop sends to its manager, with their bodies and
// results below. SPEC.md says when.
const (
	RequestHello     = "hello"     // Hello, Welcome
	RequestListeners = "listeners" // none, Listeners
	RequestAttach    = "attach"    // Attach, Attached
	RequestDetach    = "detach"    // Detach, none
	RequestBye       = "bye"       // none, none; answered when every connection has ended
)

// EventMoved tells the laptop that a name leads to other addresses now: Moved.
const EventMoved = "moved"

// The codes with which a manager refuses a request, for programs to tell apart.
const (
	// CodeHeld is a port that somebody else redirects; the message says who.
	CodeHeld = "held"
	// CodeUnsupported is what the node's kernel or the image cannot do.
	CodeUnsupported = "unsupported"
)

// Hello is the laptop's first request.
type Hello struct {
	// Version is kdiag's, Holder who asks, as USER@HOST: it is told to others
	// who want the same port.
	Version string `json:"version"`
	Holder  string `json:"holder"`
}

// Welcome is the manager's answer.
type Welcome struct {
	Version string `json:"version"`
}

// Listeners are the TCP sockets of the pod that listen outside loopback, each
// port once.
type Listeners struct {
	Ports []uint16 `json:"ports"`
}

// Attach asks for a redirect.
type Attach struct {
	// ID is the laptop's choice and stands in the header of each stream.
	ID       uint32 `json:"id"`
	Outgoing bool   `json:"outgoing,omitempty"`
	Port     uint16 `json:"port"`
	// Host is an address or a name in the pod's view, for outgoing connections
	// to it alone; empty for all.
	Host string `json:"host,omitempty"`
	// Backend is "auto", "nft" or "iptables".
	Backend string `json:"backend,omitempty"`
	// TakeOver closes the connections that are established at the port.
	TakeOver bool `json:"takeOver,omitempty"`
}

// Attached is a redirect that holds.
type Attached struct {
	Backend string `json:"backend"`
	// Established are the connections that stay with the application, TakenOver
	// those that were closed.
	Established int `json:"established,omitempty"`
	TakenOver   int `json:"takenOver,omitempty"`
	// Mesh is the service mesh whose traffic is taken behind its sidecar.
	Mesh string `json:"mesh,omitempty"`
	// Addresses are what Host leads to.
	Addresses []netip.Addr `json:"addresses,omitempty"`
}

// Detach ends a redirect for new connections; those in flight go on.
type Detach struct {
	ID uint32 `json:"id"`
}

// Moved is a redirect by name that follows its name.
type Moved struct {
	ID        uint32       `json:"id"`
	Addresses []netip.Addr `json:"addresses"`
}
