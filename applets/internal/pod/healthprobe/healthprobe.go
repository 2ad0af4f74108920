// Package healthprobe recognizes what the kubelet sends to a port, its health probes and the
// requests of containers' hooks, by the first bytes of a connection and by its source.
package healthprobe

import (
	"fmt"
	"slices"
	"time"

	"kdiag/mux/wire"
)

// A Verdict says what a connection is.
type Verdict uint8

const (
	// Other is not from the kubelet.
	Other Verdict = iota
	// Ambiguous cannot be told from a probe.
	Ambiguous
	// Undecided needs more bytes, or more time.
	Undecided
	// Recognized is a probe, by what it says.
	Recognized
)

// An Arrival is what is known of a connection so far.
type Arrival struct {
	// Bytes are the first that came, MaxBytes at most.
	Bytes []byte
	// Ended means that its peer sends no more.
	Ended bool
	// FromNode means that its source may be the kubelet's.
	FromNode bool
	// Final means that nothing more is waited for: the verdict must not be Undecided.
	Final bool
}

// MaxBytes is how much of a connection is looked at, in bytes. A TLS ClientHello with keys against
// quantum computers has some 1,700; headers of requests are as long as their cookies.
const MaxBytes = 16 << 10

// A judge knows one kind of probe.
type judge interface{ judge(a Arrival) Verdict }

// A Recognizer recognizes the probes of one port. It is safe for concurrent use.
type Recognizer struct {
	judges   []judge
	patience time.Duration // for the bytes of a probe that has some
	onlyTCP  bool
}

// These bound what a laptop may say of probes.
const (
	maxProbes  = 100
	maxTimeout = 10 * time.Second
)

// New makes a Recognizer. It returns nil if there is nothing to recognize, and an error for a kind
// that it does not know.
func New(probes []wire.Probe) (*Recognizer, error) {
	if len(probes) == 0 {
		return nil, nil
	}
	if len(probes) > maxProbes {
		return nil, fmt.Errorf("%d probes of one port, %d at most", len(probes), maxProbes)
	}

	longest := time.Second
	r := &Recognizer{onlyTCP: true}
	for _, p := range probes {
		known, err := newJudge(p)
		if err != nil {
			return nil, err
		}
		r.judges = append(r.judges, known)
		r.onlyTCP = r.onlyTCP && p.Kind == wire.ProbeTCP
		longest = max(longest, min(time.Duration(p.TimeoutSeconds)*time.Second, maxTimeout))
	}

	r.patience = longest + givingUp
	return r, nil
}

// newJudge makes the judge of one probe.
func newJudge(p wire.Probe) (judge, error) {
	switch p.Kind {
	case wire.ProbeHTTP:
		return httpRequest{p}, nil
	case wire.ProbeH2C:
		return http2Request{matches: httpRequest{p}.matchesHTTP2}, nil
	case wire.ProbeGRPC:
		return http2Request{matches: isHealthCheck, awaitsSettings: true}, nil
	case wire.ProbeTLS:
		return clientHello{}, nil
	case wire.ProbeTCP:
		return connectAndClose{}, nil
	}
	return nil, fmt.Errorf("unknown kind of probe %.32q", p.Kind)
}

// Judge says what a connection is.
func (r *Recognizer) Judge(a Arrival) Verdict {
	verdict := Other
	for _, known := range r.judges {
		verdict = max(verdict, known.judge(a))
	}

	if verdict == Other && a.FromNode && a.Ended && len(a.Bytes) == 0 {
		return Ambiguous // the kubelet may have given a probe up before it said anything
	}
	return verdict
}

const (
	// closePatience is how long a connection may be silent until it is not a probe of TCP, which
	// the kubelet closes at once.
	closePatience = 100 * time.Millisecond
	// settingsPatience is how long a request may follow the settings of HTTP/2. What sends it
	// without waiting for the server's settings sends it at once.
	settingsPatience = 50 * time.Millisecond
	// givingUp is how long after a probe's timeout its connection may still end.
	givingUp = 500 * time.Millisecond
)

// Patience returns how long to wait for more of a connection that has sent some bytes.
func (r *Recognizer) Patience(bytes []byte) time.Duration {
	switch {
	case len(bytes) == 0 && r.onlyTCP:
		return closePatience
	case isHTTP2(bytes):
		return settingsPatience
	}
	return r.patience
}

// connectAndClose is a probe of TCP: it sends nothing (pkg/probe/tcp of Kubernetes).
type connectAndClose struct{}

func (connectAndClose) judge(a Arrival) Verdict {
	switch {
	case len(a.Bytes) > 0:
		return Other
	case a.Ended:
		return Recognized
	case a.Final:
		return Other
	}
	return Undecided
}

// isPrefix reports whether bytes begin a text or are begun by it.
func isPrefix(bytes []byte, text string) bool {
	n := min(len(bytes), len(text))
	return slices.Equal(bytes[:n], []byte(text[:n]))
}
