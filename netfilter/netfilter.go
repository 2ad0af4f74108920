// Package netfilter redirects new TCP connections of one network namespace to a
// local port, with nftables or with the iptables programs.
//
// A Backend belongs to the network namespace of the thread that opened it. Use it
// only from threads of that namespace, with CAP_NET_ADMIN.
//
// Connections survive what a Backend does. Its rules match only the first SYN of
// a connection, so that connections from before a redirect go on undisturbed. It
// keeps conntrack active in the namespace until Close, so that redirected
// connections go on after Detach.
package netfilter

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
)

// LockName is what the names of the abstract UNIX sockets begin with that show which Backends of a
// network namespace are alive.
const LockName = "@kdiag-netfilter-"

// Direction tells which connections a Redirect takes.
type Direction uint8

const (
	// Incoming connections come from outside, or over lo to one of the
	// namespace's own addresses.
	Incoming Direction = iota + 1
	// Outgoing connections leave the namespace. Those over lo never count.
	Outgoing
)

// String returns "incoming" or "outgoing".
func (d Direction) String() string {
	switch d {
	case Incoming:
		return "incoming"
	case Outgoing:
		return "outgoing"
	}
	return "direction " + strconv.Itoa(int(d))
}

// Redirect sends the new connections of one port to a local port.
type Redirect struct {
	Direction Direction
	// Port is the destination port to match.
	Port uint16
	// Address limits an Outgoing redirect to one destination. The zero Addr
	// matches every destination that has no redirect of its own.
	Address netip.Addr
	// Listener is the local port that the connections go to. It must listen on
	// the wildcard address: connections from the namespace itself arrive at
	// 127.0.0.1 or ::1, those from outside at an address of the interface, and
	// with Config.LoopbackOnly where they were going.
	Listener uint16
	// Holder names who asked for the redirect, in at most 64 bytes of printable
	// ASCII. It is stored with the rule and shown to others who want the same.
	Holder string
}

// Config says how to open a Backend.
type Config struct {
	// ID is the manager's id, [a-z0-9]{1,12}. Tables and chains carry it in their
	// names, so each manager of a namespace needs its own.
	ID string
	// Mark is the SO_MARK of connections that are never redirected. It must not
	// be 0, because every other connection has that.
	Mark uint32
	// Exclude lists destinations that Outgoing redirects without an Address
	// leave alone.
	Exclude []netip.AddrPort
	// LoopbackOnly limits Incoming redirects to connections over lo. In the pod
	// of a service mesh those come from the mesh's proxy, which keeps what comes
	// from outside. They keep their destination's address and change its port
	// alone, because a proxy may keep its client's address: an answer from
	// 127.0.0.1 to an address outside has no route.
	LoopbackOnly bool
}

// Backend puts redirects into the kernel. It is safe for concurrent use.
type Backend interface {
	// Name returns "nft" or "iptables".
	Name() string
	// Attach redirects new connections to the listener. It returns a *HeldError
	// if this manager or another one already has a redirect with the same
	// direction, port and address. When two managers want the same at the same
	// moment, at most one of them succeeds, and perhaps neither.
	//
	// Attach refuses what would form a chain of redirects: an Incoming redirect
	// of a port that is another redirect's listener, and a listener on a
	// redirected port.
	Attach(Redirect) error
	// Detach ends a redirect: new connections go where they went before, and
	// established ones go on. It finds the redirect by Direction, Port and
	// Address, and fails if there is none.
	Detach(Redirect) error
	// Close removes everything. Established redirected connections break if
	// nothing else in the namespace needs conntrack, so call it when the last of
	// them has ended. A second call does nothing.
	Close() error
}

// SourceKeeper is a Backend that can have connections to the namespace itself come from another
// address. Only nft is.
type SourceKeeper interface {
	// KeepSource has the next connection with the mark from a local port, over lo, come from an
	// address outside. Call forget once it is made: its packets go on to have that source.
	KeepSource(port uint16, source netip.Addr) (forget func() error, err error)
}

// HeldError reports that the connections Attach wanted already have a redirect.
type HeldError struct {
	// Redirect is the one that Attach was asked for.
	Redirect Redirect
	// Holder names who has the existing redirect, as that one's manager wrote it.
	// Anything that is not printable ASCII is replaced.
	Holder string
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("redirect %s: held by %q", e.Redirect.describe(), e.Holder)
}

// ErrNotRedirected is returned by OriginalDestination for a connection whose
// destination nobody changed.
var ErrNotRedirected = errors.New("connection is not redirected")

var (
	errClosed      = errors.New("back end is closed")
	errNotAttached = errors.New("no such redirect")
)

// MaxHolder limits Redirect.Holder, in bytes.
const MaxHolder = 64

// redirectKey identifies a redirect: a namespace has at most one for each key.
type redirectKey struct {
	direction Direction
	port      uint16
	address   netip.Addr
}

func (r Redirect) key() redirectKey {
	return redirectKey{r.Direction, r.Port, r.Address.Unmap()}
}

// describe words the redirect for error messages, without its listener.
func (r Redirect) describe() string {
	if r.Address.IsValid() {
		return fmt.Sprintf("%s %s", r.Direction, netip.AddrPortFrom(r.Address, r.Port))
	}
	return fmt.Sprintf("%s port %d", r.Direction, r.Port)
}

func (r Redirect) validate() error {
	switch {
	case r.Direction != Incoming && r.Direction != Outgoing:
		return fmt.Errorf("%s is neither incoming nor outgoing", r.Direction)
	case r.Port == 0 || r.Listener == 0:
		return errors.New("port must not be 0")
	case r.Address.IsValid() && r.Direction != Outgoing:
		return errors.New("only an outgoing redirect can have an address")
	case r.Address.IsValid() && (r.Address.Zone() != "" || r.Address.IsLoopback() || r.Address.IsUnspecified()):
		return fmt.Errorf("address %s is not outside the namespace", r.Address)
	case len(r.Holder) > MaxHolder || sanitizeComment(r.Holder) != r.Holder:
		return fmt.Errorf("holder %q must be printable ASCII of at most %d bytes", r.Holder, MaxHolder)
	case r.Direction == Incoming && r.Port == r.Listener:
		return errors.New("port and listener must differ")
	}

	return nil
}

func (c Config) validate() error {
	if !isValidID(c.ID) {
		return fmt.Errorf("id %q must match [a-z0-9]{1,12}", c.ID)
	}
	if c.Mark == 0 {
		return errors.New("mark must not be 0")
	}

	for _, destination := range c.Exclude {
		if !destination.IsValid() || destination.Addr().Zone() != "" {
			return fmt.Errorf("excluded destination %s is not an address and port", destination)
		}
	}

	return nil
}

func isValidID(id string) bool {
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return len(id) >= 1 && len(id) <= 12
}

// sanitizeComment turns a text into one that a rule's comment can hold: printable
// ASCII of at most MaxHolder bytes. Comments come from other managers, too, so
// nothing in them may reach a terminal as it is.
func sanitizeComment(text string) string {
	out := []byte(text[:min(len(text), MaxHolder)])
	for i, c := range out {
		if c < ' ' || c > '~' {
			out[i] = '?'
		}
	}
	return string(out)
}
