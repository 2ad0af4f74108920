package redirectserver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"kdiag/applets/internal/pod/procfs"
	"kdiag/applets/internal/pod/sockdiag"
	"kdiag/netfilter"
)

// countEstablished counts the connections that were established before the redirect and that it
// would have taken, after it has closed them if the request says so.
func (r *redirectListener) countEstablished(ctx context.Context) (stay, closed int, err error) {
	before, err := r.newEstablished()
	if err != nil {
		return 0, 0, err
	}

	if r.attach.TakeOver {
		// A kernel that cannot close them leaves them to be counted.
		closed, err = before.destroy(ctx)
	}

	for _, path := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		countErr := procfs.EachInetSocket(path, func(s procfs.InetSocket) bool {
			if s.State == procfs.TCPEstablished && before.has(s.Local, s.Remote, s.Inode) {
				stay++
			}
			return true
		})
		// A kernel without IPv6 has no such file.
		if countErr != nil && !errors.Is(countErr, os.ErrNotExist) {
			err = errors.Join(err, countErr)
		}
	}

	return stay, closed, err
}

// established tells the connections that a redirect would have taken from others.
type established struct {
	rules    []netfilter.Redirect
	excluded []netip.AddrPort
	// listening has the ports that something in the pod listens on: connections at those came in.
	listening map[uint16]bool
	// own has the manager's sockets.
	own map[uint64]bool
	// kubelets reports whether a connection may be a health probe from an address; nil if there are
	// none.
	kubelets func(source netip.Addr) bool
}

// newEstablished looks what there is.
func (r *redirectListener) newEstablished() (*established, error) {
	e := &established{rules: r.currentRules(), listening: map[uint16]bool{}, own: map[uint64]bool{}}
	if !r.attach.Outgoing {
		if r.probes != nil {
			e.kubelets = r.nodes.contains
		}
		return e, nil
	}

	e.excluded = excludedDestinations()
	listeners, err := procfs.ListListeners()
	if err != nil {
		return nil, fmt.Errorf("list the listening sockets: %w", err)
	}
	for _, listener := range listeners {
		e.listening[listener.Local.Port()] = true
	}

	own, _, err := procfs.ListSocketInodes(os.Getpid(), maxOwnSockets)
	if err != nil {
		return nil, fmt.Errorf("list the manager's sockets: %w", err)
	}
	for _, inode := range own {
		e.own[inode] = true
	}

	return e, nil
}

// maxOwnSockets bounds what is read of the manager's sockets. Those of callers are told by their
// port, too.
const maxOwnSockets = 1 << 16

// has reports whether a redirect would have taken a connection.
func (e *established) has(local, remote netip.AddrPort, inode uint64) bool {
	return slices.ContainsFunc(e.rules, func(rule netfilter.Redirect) bool {
		if rule.Direction == netfilter.Incoming {
			return local.Port() == rule.Port
		}
		return e.leaves(local, remote, inode) && e.isTaken(rule, remote)
	})
}

// leaves reports whether a connection was made by the pod, to somewhere else.
func (e *established) leaves(local, remote netip.AddrPort, inode uint64) bool {
	to := remote.Addr().Unmap()
	return !e.own[inode] && !e.listening[local.Port()] && !to.IsLoopback() && to != local.Addr().Unmap()
}

// isTaken reports whether a rule takes new connections to a destination.
func (e *established) isTaken(rule netfilter.Redirect, to netip.AddrPort) bool {
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	switch {
	case rule.Port != to.Port():
		return false
	case rule.Address.IsValid():
		return rule.Address == to.Addr()
	}
	return !slices.Contains(e.excluded, to)
}

// destroy resets the connections, and returns their number. It leaves those that may be health
// probes: one that fails may restart the application.
func (e *established) destroy(ctx context.Context) (closed int, err error) {
	has := func(c sockdiag.TCPConnection) bool {
		isProbe := e.kubelets != nil && e.kubelets(c.Remote.Addr())
		return !isProbe && e.has(c.Local, c.Remote, uint64(c.Inode))
	}
	done := map[uint16]bool{}
	for _, rule := range e.rules {
		if done[rule.Port] {
			continue
		}
		done[rule.Port] = true

		destroy := sockdiag.DestroyConnections
		if rule.Direction == netfilter.Outgoing {
			destroy = sockdiag.DestroyConnectionsTo
		}
		count, destroyErr := destroy(ctx, rule.Port, has)
		closed += count
		err = errors.Join(err, destroyErr)
	}

	return closed, err
}
