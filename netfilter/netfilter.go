// Package netfilter redirects new TCP connections of one network namespace to a local port.
//
// A Backend belongs to the network namespace of the thread that opened it, and
// is to be used from threads of that namespace. It needs CAP_NET_ADMIN there.
//
// What it puts into the namespace is made so that connections live through it:
// only the first SYN of a connection is matched, so that those that were there
// before go on; and what holds conntrack in the namespace stays until Close, so
// that redirected connections go on after Detach.
package netfilter

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
)

// Direction tells which connections a Redirect takes.
type Direction uint8

const (
	// Incoming are connections from outside, and those over lo to the
	// namespace's own addresses.
	Incoming Direction = iota + 1
	// Outgoing are connections that leave the namespace, never those over lo.
	Outgoing
)

// String is "incoming" or "outgoing".
func (d Direction) String() string {
	switch d {
	case Incoming:
		return "incoming"
	case Outgoing:
		return "outgoing"
	}
	return "direction " + strconv.Itoa(int(d))
}

// Redirect is one port whose new connections go to a local port.
type Redirect struct {
	Direction Direction
	// Port is the destination port that is matched.
	Port uint16
	// Address is for Outgoing only: this destination alone. The zero Addr is
	// any; a destination that has a redirect of its own goes by that one.
	Address netip.Addr
	// Listener is the local port that the connections go to: on 127.0.0.1 or
	// ::1 what comes from the namespace itself, on an address of the interface
	// what comes from outside. So the listener is on the wildcard address.
	Listener uint16
	// Holder is who asked for it: printable ASCII, at most 64 bytes. It stands
	// in the rules, and is told to another who wants the same.
	Holder string
}

// Config is what a Backend is opened with.
type Config struct {
	// ID is the manager's id, [a-z0-9]{1,12}: part of the names of table and
	// chains. Two managers in one namespace have two.
	ID string
	// Mark is the SO_MARK of connections that are never redirected. It is not 0,
	// which all others have.
	Mark uint32
	// Spare are destinations that Outgoing redirects without an Address leave
	// alone.
	Spare []netip.AddrPort
	// LoopbackOnly is for pods of a service mesh: Incoming takes only what comes
	// over lo, as from the sidecar, and leaves what comes from outside to it.
	LoopbackOnly bool
}

// Backend puts redirects into the kernel. It is safe for concurrent use.
type Backend interface {
	// Name is "nft" or "iptables".
	Name() string
	// Attach lets new connections go to the listener. It returns a *HeldError
	// when this manager or another has a redirect of the same direction, port
	// and address. Two managers that want the same at the same moment may both
	// get one; they never both succeed.
	//
	// An Incoming redirect of a port that is itself a listener of a redirect is
	// refused, and so is a listener whose port is redirected.
	Attach(Redirect) error
	// Detach lets new connections go where they went before; established
	// redirected ones live on. Direction, Port and Address say which one; that
	// it is not attached is an error.
	Detach(Redirect) error
	// Close takes everything away, and established redirected connections break
	// with it where nothing else in the namespace needs conntrack: call it when
	// the last of them has ended. A second call does nothing.
	Close() error
}

// HeldError says that another has the redirect that Attach wanted.
type HeldError struct {
	// Redirect is what was asked for.
	Redirect Redirect
	// Holder is the Holder of the redirect that is there, as its manager wrote
	// it; what is not printable ASCII is replaced.
	Holder string
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("redirect %s: held by %q", e.Redirect.what(), e.Holder)
}

// ErrNotRedirected is returned by OriginalDestination for a connection whose
// destination nobody changed.
var ErrNotRedirected = errors.New("connection is not redirected")

var (
	errClosed      = errors.New("back end is closed")
	errNotAttached = errors.New("not attached")
)

const maxHolder = 64

// key is what only one Redirect of a namespace may have.
type key struct {
	direction Direction
	port      uint16
	address   netip.Addr
}

func (r Redirect) key() key { return key{r.Direction, r.Port, r.Address.Unmap()} }

func (r Redirect) what() string {
	if r.Address.IsValid() {
		return fmt.Sprintf("%s %s", r.Direction, netip.AddrPortFrom(r.Address, r.Port))
	}
	return fmt.Sprintf("%s port %d", r.Direction, r.Port)
}

func (r Redirect) check() error {
	switch {
	case r.Direction != Incoming && r.Direction != Outgoing:
		return fmt.Errorf("%s is neither incoming nor outgoing", r.Direction)
	case r.Port == 0 || r.Listener == 0:
		return errors.New("port 0")
	case r.Address.IsValid() && r.Direction != Outgoing:
		return errors.New("an address is for outgoing redirects only")
	case r.Address.IsValid() && (r.Address.Zone() != "" || r.Address.IsLoopback() || r.Address.IsUnspecified()):
		return fmt.Errorf("%s is not an address outside", r.Address)
	case len(r.Holder) > maxHolder || ruleComment(r.Holder) != r.Holder:
		return fmt.Errorf("holder %q is not printable ASCII of at most %d bytes", r.Holder, maxHolder)
	case r.Direction == Incoming && r.Port == r.Listener:
		return errors.New("the port is its own listener")
	}

	return nil
}

func (c Config) check() error {
	if !validID(c.ID) {
		return fmt.Errorf("id %q is not [a-z0-9]{1,12}", c.ID)
	}
	if c.Mark == 0 {
		return errors.New("mark 0, which all connections have")
	}

	for _, spare := range c.Spare {
		if !spare.IsValid() || spare.Addr().Zone() != "" {
			return fmt.Errorf("spare destination %s is not an address and port", spare)
		}
	}

	return nil
}

func validID(id string) bool {
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return len(id) >= 1 && len(id) <= 12
}

// ruleComment is a text as a rule's comment holds it, by which a holder is told:
// printable ASCII of maxHolder bytes at most.
func ruleComment(text string) string {
	out := []byte(text[:min(len(text), maxHolder)])
	for i, c := range out {
		if c < ' ' || c > '~' {
			out[i] = '?'
		}
	}
	return string(out)
}
