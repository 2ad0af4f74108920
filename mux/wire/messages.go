package wire

import "net/netip"

// A laptop sends these requests to its manager. Their bodies and results are below; SPEC.md
// says when they are sent.
const (
	RequestHello     = "hello"     // Hello, Welcome
	RequestListeners = "listeners" // none, Listeners
	RequestAttach    = "attach"    // Attach, Attached
	RequestCover     = "cover"     // Cover, none
	RequestDetach    = "detach"    // Detach, Detached
	RequestBye       = "bye"       // none, Farewell; answered when every connection has ended
)

// RequestAlive is what a manager asks a laptop, to learn whether it lives. Any answer will do, so
// that laptops need not know it.
const RequestAlive = "alive"

// A manager sends these events to its laptop.
const (
	// EventMoved says that a name now has other addresses. Its body is a Moved.
	EventMoved = "moved"
	// EventTroubled says that a redirect does not work as it should. Its body is a Troubled.
	EventTroubled = "troubled"
	// EventProbed counts what reached the application as a health probe. Its body is a Probed.
	EventProbed = "probed"
	// EventRefused counts connections that the manager has reset. Its body is a Refused.
	EventRefused = "refused"
)

// A manager answers with these codes when it cannot serve a request.
const (
	// CodeHeld means that somebody else redirects the port. The message says who.
	CodeHeld = "held"
	// CodeOwn means that another session of the same user redirects the port. The message says
	// since when.
	CodeOwn = "own"
	// CodeUnsupported means that the node's kernel or the image cannot do it.
	CodeUnsupported = "unsupported"
)

// Hello is the laptop's first request.
type Hello struct {
	// Version is that of kdiag. Holder says who asks, as USER@HOST, for others who want the
	// same port.
	Version string `json:"version"`
	Holder  string `json:"holder"`
	// GraceSeconds is how long the manager keeps the session after it has lost its connection.
	GraceSeconds float64 `json:"graceSeconds,omitempty"`
	// OnDisconnect says what new connections do while the laptop is away: one of OnDisconnect….
	// Empty is OnDisconnectApp.
	OnDisconnect string `json:"onDisconnect,omitempty"`
	// MemoryLimit is what the pod's spec limits its memory to, in bytes; 0 if it does not.
	MemoryLimit int64 `json:"memoryLimit,omitempty"`
	// Run tells this run of kdiag from others of the same user; its sessions share it.
	Run string `json:"run,omitempty"`
}

// These are the values of Hello.OnDisconnect.
const (
	// OnDisconnectApp sends new connections to the application again, after a while.
	OnDisconnectApp = "app"
	// OnDisconnectHold lets them wait for the laptop, as long as the grace.
	OnDisconnectHold = "hold"
	// OnDisconnectReset resets them, after a while.
	OnDisconnectReset = "reset"
)

// Welcome answers Hello.
type Welcome struct {
	Version string `json:"version"`
}

// Listeners lists the TCP ports on which the pod listens outside loopback, each once.
type Listeners struct {
	Ports []uint16 `json:"ports"`
}

// Attach asks for a redirect.
type Attach struct {
	// ID is chosen by the laptop. Each stream has it in its header.
	ID       uint32 `json:"id"`
	Outgoing bool   `json:"outgoing,omitempty"`
	Port     uint16 `json:"port"`
	// Host limits the redirect to outgoing connections to an address, or to a name as the pod
	// resolves it. If it is empty all are redirected.
	Host string `json:"host,omitempty"`
	// Also lists more destinations of Host: those that the laptop knows of, such as the endpoints
	// of a Service.
	Also []netip.AddrPort `json:"also,omitempty"`
	// Backend is "auto", "nft" or "iptables".
	Backend string `json:"backend,omitempty"`
	// TakeOver closes connections to the port that are established already.
	TakeOver bool `json:"takeOver,omitempty"`
	// Probes are what the kubelet sends to an incoming port, which goes to the application.
	// NodeAddresses are those that the kubelet may send it from, as far as they are known.
	Probes        []Probe      `json:"probes,omitempty"`
	NodeAddresses []netip.Addr `json:"nodeAddresses,omitempty"`
	// Again says that this run had the redirect before. Then it is not taken from another session
	// of the user's, which may have taken it over meanwhile.
	Again bool `json:"again,omitempty"`
}

// Attached answers Attach: the redirect works, as a connection of the manager's own has shown.
type Attached struct {
	Backend string `json:"backend"`
	// Established counts the connections that stay with the application, TakenOver those that
	// were closed.
	Established int `json:"established,omitempty"`
	TakenOver   int `json:"takenOver,omitempty"`
	// Mesh names the service mesh if connections are redirected behind its sidecar.
	Mesh string `json:"mesh,omitempty"`
	// Addresses lists the addresses of Host, and Endpoints destinations of it with other ports.
	Addresses []netip.Addr     `json:"addresses,omitempty"`
	Endpoints []netip.AddrPort `json:"endpoints,omitempty"`
	// Listening is one of Listening…, if an incoming redirect's port is not served as usual.
	Listening string `json:"listening,omitempty"`
	// Unproven says which of the redirect's rules the manager could not test, and why. It is
	// empty if it has seen all of them work.
	Unproven string `json:"unproven,omitempty"`
}

// These are the values of Attached.Listening.
const (
	// ListeningNone means that nothing in the pod listens on the port.
	ListeningNone = "none"
	// ListeningLoopback means that it is served on loopback only, where no caller from outside
	// reaches it.
	ListeningLoopback = "loopback"
)

// Detach ends a redirect for new connections. Others go on.
type Detach struct {
	ID uint32 `json:"id"`
}

// Detached answers Detach.
type Detached struct {
	Probed  Probed  `json:"probed"`
	Refused Refused `json:"refused"`
}

// Farewell answers bye.
type Farewell struct {
	// Refused has the last counts of the redirects that refused connections.
	Refused []Refused `json:"refused,omitempty"`
}

// Refused counts the connections of a redirect that the manager has reset so far, and that were
// never the laptop's.
type Refused struct {
	ID uint32 `json:"id"`
	// Counts are by the reason, one of Refused….
	Counts map[string]int64 `json:"counts,omitempty"`
}

// These are the reasons in Refused.Counts.
const (
	// RefusedNoRoom means that there were too many connections at once.
	RefusedNoRoom = "room"
	// RefusedByApplication means that it was to reach the application, which did not take it.
	RefusedByApplication = "application"
	// RefusedAway means that the laptop was away, and its user wants connections reset then.
	RefusedAway = "away"
	// RefusedEnding means that the manager was about to end.
	RefusedEnding = "ending"
	// RefusedStranger means that it was not redirected: something in the pod dialed kdiag itself.
	RefusedStranger = "stranger"
)

// Cover adds destinations to a redirect by name.
type Cover struct {
	ID   uint32           `json:"id"`
	Also []netip.AddrPort `json:"also"`
}

// Moved says which destinations a redirect by name now covers: those that it covered before, and
// more. Full says that there is room for no others.
type Moved struct {
	ID        uint32           `json:"id"`
	Addresses []netip.Addr     `json:"addresses"`
	Endpoints []netip.AddrPort `json:"endpoints,omitempty"`
	Full      bool             `json:"full,omitempty"`
}

// Troubled says what is wrong with a redirect, such as after the laptop was away.
type Troubled struct {
	ID uint32 `json:"id"`
	// Code is CodeOwn if another session of the user's has taken the redirect over, for good.
	Code    string `json:"code,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}
