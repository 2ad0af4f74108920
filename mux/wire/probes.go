package wire

// These are the values of Probe.Kind.
const (
	// ProbeHTTP is a GET over HTTP/1.1, of a probe or of a container's hook; ProbeH2C the same
	// over HTTP/2 without TLS.
	ProbeHTTP = "http"
	ProbeH2C  = "h2c"
	// ProbeTLS is whatever comes over TLS. Nothing of it can be read but that it begins.
	ProbeTLS = "tls"
	// ProbeGRPC is a call of grpc.health.v1.Health/Check without TLS.
	ProbeGRPC = "grpc"
	// ProbeTCP is a connection that is closed at once.
	ProbeTCP = "tcp"
)

// A Probe describes what the kubelet sends to a port of the pod: a health probe, or the request of
// a hook.
type Probe struct {
	Kind string `json:"kind"`
	// Target is what an HTTP request asks for, as its first line has it.
	Target string `json:"target,omitempty"`
	// Agent begins the User-Agent, unless Headers has one. Empty is any.
	Agent string `json:"agent,omitempty"`
	// Headers are those that the pod's spec adds to an HTTP request, each with all of its values.
	Headers map[string][]string `json:"headers,omitempty"`
	// TimeoutSeconds is how long the kubelet waits for the answer.
	TimeoutSeconds int `json:"timeoutSeconds,omitempty"`
}

// Probed counts the connections of a redirect that reached the application as health probes.
type Probed struct {
	ID uint32 `json:"id"`
	// Recognized are those that can be nothing else by what they said. Ambiguous are those that
	// could not be told from one.
	Recognized int64 `json:"recognized"`
	Ambiguous  int64 `json:"ambiguous"`
}
