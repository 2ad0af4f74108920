package netfilter

import (
	"errors"
	"net/netip"
	"os"
)

// Prover is a Backend that can try its own redirects. Both back ends are.
type Prover interface {
	// OpenTrials prepares a connection through each redirect, which all have the
	// same listener. Whatever the namespace's rules do, a trial reaches that
	// listener or nobody: until Close, the kernel refuses every packet of it that
	// another destination would get.
	//
	// A trial begins like a connection of the application's: it has no mark and is
	// made by the same rules. An Incoming redirect is tried over lo at an address of
	// the namespace, once for each family; an Outgoing one at its address, or else
	// at an address that is nobody's. Call it on a thread of the namespace.
	OpenTrials(redirects []Redirect) (*Trials, error)
}

// Trials holds prepared connections through the rules of a Backend.
type Trials struct {
	List []*Trial
	// Untried says what cannot be tried here, and why, such as a family without a
	// route.
	Untried []string
	// keepsAddress says that Incoming redirects change the port alone.
	keepsAddress bool
	// endGuard lets packets pass again; nil if there are no trials.
	endGuard func() error
}

// Trial is one prepared connection. Nobody else has its Source while it is open.
type Trial struct {
	Source, Destination netip.AddrPort
	// Listener is the port that the connection must reach.
	Listener uint16
	// arrival is the address at which it must reach the listener.
	arrival netip.Addr
	socket  *os.File
}

// Close ends the trials, and then what guards them. A second call does nothing.
func (t *Trials) Close() error {
	var err error
	for _, trial := range t.List {
		err = errors.Join(err, trial.socket.Close())
	}
	t.List = nil

	if t.endGuard != nil {
		err = errors.Join(err, t.endGuard())
		t.endGuard = nil
	}

	return err
}
