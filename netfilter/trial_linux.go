package netfilter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// maxTrials limits the trials that are open at once, for names with many addresses.
const maxTrials = 16

// nobodysAddresses stand for any destination. They are set aside for documentation
// (RFC 5737, RFC 3849), so no host has them.
var nobodysAddresses = [...]netip.Addr{
	netip.AddrFrom4([4]byte{192, 0, 2, 1}),
	netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 15: 1}),
}

// loopbackOf returns the address that a redirected connection from the namespace
// itself arrives at.
func loopbackOf(family netip.Addr) netip.Addr {
	if family.Is4() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

// pickOwnAddresses returns an address of each family at which connections over lo
// reach the namespace. Addresses of loopback count only if there are no others.
func pickOwnAddresses(all []netip.Addr) []netip.Addr {
	var others, loopback [2]netip.Addr
	for _, address := range all {
		address = address.Unmap()
		family := 0
		if address.Is6() {
			family = 1
		}

		switch {
		case address.IsGlobalUnicast() && !others[family].IsValid():
			others[family] = address
		case address.IsLoopback() && !loopback[family].IsValid():
			loopback[family] = address
		}
	}

	picked := others
	if picked == [2]netip.Addr{} {
		picked = loopback
	}

	var out []netip.Addr
	for _, address := range picked {
		if address.IsValid() {
			out = append(out, address)
		}
	}

	return out
}

// coversFamily reports whether the table redirects connections of a family. It has
// the rules of both.
func (*nftBackend) coversFamily(netip.Addr) bool { return true }

// coversFamily reports whether there are chains of ours in a family's nat table.
func (b *iptablesBackend) coversFamily(family netip.Addr) bool {
	return len(b.toolsFor(Redirect{Address: family})) > 0
}

// OpenTrials is Prover's.
func (b *nftBackend) OpenTrials(redirects []Redirect) (*Trials, error) {
	return b.openTrials(redirects, b.coversFamily)
}

// OpenTrials is Prover's.
func (b *iptablesBackend) OpenTrials(redirects []Redirect) (*Trials, error) {
	return b.openTrials(redirects, b.coversFamily)
}

// openTrials prepares trials of the manager's redirects in the families that its
// back end covers.
func (l *redirectLedger) openTrials(redirects []Redirect, covers func(family netip.Addr) bool) (*Trials, error) {
	t := &Trials{keepsAddress: l.keepsAddress}
	for _, r := range redirects {
		if err := t.addRedirect(r, covers); err != nil {
			return nil, errors.Join(err, t.Close())
		}
	}

	if len(t.List) == 0 {
		return t, nil
	}

	endGuard, err := l.guardTrials(t.List)
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}

	t.endGuard = endGuard
	return t, nil
}

// trialDestinations returns where connections go that show whether a redirect is in
// force.
func trialDestinations(r Redirect) ([]netip.Addr, error) {
	switch {
	case r.Address.IsValid():
		return []netip.Addr{r.Address.Unmap()}, nil
	case r.Direction == Outgoing:
		return nobodysAddresses[:], nil
	}

	prefixes, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list the addresses of the namespace: %w", err)
	}

	var all []netip.Addr
	for _, prefix := range prefixes {
		if p, err := netip.ParsePrefix(prefix.String()); err == nil {
			all = append(all, p.Addr())
		}
	}

	return pickOwnAddresses(all), nil
}

// addRedirect prepares the connections that try a redirect, and notes why there can
// be no others. Where one is possible, a family without a route is nothing to note:
// connections of that family do not leave at all.
func (t *Trials) addRedirect(r Redirect, covers func(family netip.Addr) bool) error {
	destinations, err := trialDestinations(r)
	if err != nil {
		return err
	}

	var unreachable []string
	opened := false
	for _, address := range destinations {
		to := netip.AddrPortFrom(address, r.Port)
		switch err := t.open(r, to, covers); {
		case err == nil:
			opened = true
		case meansNoRoute(err):
			unreachable = append(unreachable, fmt.Sprintf("%s: %v", to, err))
		default:
			t.Untried = append(t.Untried, fmt.Sprintf("%s: %v", to, err))
		}
	}

	if !opened {
		t.Untried = append(t.Untried, unreachable...)
	}

	return nil
}

var (
	errOwnAddress   = errors.New("connections of the pod to itself are not outgoing")
	errTooManyTries = fmt.Errorf("more than %d addresses", maxTrials)
	errNoProgram    = errors.New("no iptables program for this family")
)

// meansNoRoute reports whether an error says that no connection can leave for a
// destination, for want of a route or of the whole family.
func meansNoRoute(err error) bool {
	for _, cause := range []error{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EADDRNOTAVAIL, unix.EAFNOSUPPORT} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// open binds a socket for a connection to a destination. It sends nothing.
func (t *Trials) open(r Redirect, to netip.AddrPort, covers func(family netip.Addr) bool) error {
	if len(t.List) == maxTrials {
		return errTooManyTries
	}

	source, err := findSource(to)
	switch {
	case err != nil:
		return err
	case r.Direction == Outgoing && source == to.Addr():
		return errOwnAddress
	case !covers(source):
		return errNoProgram
	}

	fd, err := unix.Socket(socketDomain(source), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}

	// A port that is bound without SO_REUSEADDR is nobody else's.
	bound, err := bindSocket(fd, source)
	if err != nil {
		unix.Close(fd)
		return err
	}

	arrival := loopbackOf(source)
	if r.Direction == Incoming && t.keepsAddress {
		arrival = to.Addr()
	}

	socket := os.NewFile(uintptr(fd), "trial")
	t.List = append(t.List, &Trial{Source: bound, Destination: to, Listener: r.Listener, arrival: arrival, socket: socket})
	return nil
}

// bindSocket binds a TCP socket to an address and a port of the kernel's choice, and
// lets it end with a reset, so that nothing of it is left.
func bindSocket(fd int, address netip.Addr) (bound netip.AddrPort, err error) {
	err = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	if err != nil {
		return netip.AddrPort{}, os.NewSyscallError("setsockopt SO_LINGER", err)
	}

	if err := unix.Bind(fd, socketAddress(netip.AddrPortFrom(address, 0))); err != nil {
		return netip.AddrPort{}, os.NewSyscallError("bind", err)
	}

	return localAddress(fd)
}

// findSource returns the address that connections to a destination come from, or an
// error if no route leads there. A datagram socket that is connected sends nothing.
func findSource(to netip.AddrPort) (netip.Addr, error) {
	fd, err := unix.Socket(socketDomain(to.Addr()), unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return netip.Addr{}, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)

	if err := unix.Connect(fd, socketAddress(to)); err != nil {
		return netip.Addr{}, err
	}

	source, err := localAddress(fd)
	return source.Addr(), err
}

func socketDomain(address netip.Addr) int {
	if address.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func socketAddress(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

// Connect makes the connection, once. An error says that the kernel or the peer
// refused it, or that nobody answered before ctx ended. Success does not say who
// answered: only the listener knows that, by the trial's Source.
func (t *Trial) Connect(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = t.socket.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	raw, err := t.socket.SyscallConn()
	if err != nil {
		return err
	}

	var failed error
	started := false
	err = raw.Write(func(fd uintptr) (done bool) {
		if !started {
			started = true
			failed = unix.Connect(int(fd), socketAddress(t.Destination))
			return !errors.Is(failed, unix.EINPROGRESS)
		}

		done, failed = connectResult(int(fd))
		return done
	})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("no answer: %w", ctx.Err())
	}

	return errors.Join(err, failed)
}

// connectResult reports how a connection attempt ended, if it has ended. Readiness
// alone does not tell: a socket that was never connected counts as ready, too.
func connectResult(fd int) (done bool, err error) {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return true, os.NewSyscallError("getsockopt SO_ERROR", err)
	}
	if code != 0 {
		return true, unix.Errno(code)
	}

	_, err = unix.Getpeername(fd)
	return !errors.Is(err, unix.ENOTCONN), err
}
