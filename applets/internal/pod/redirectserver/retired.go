package redirectserver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"kdiag/applets/internal/pod/procfs"
	"kdiag/mux"
	"kdiag/mux/wire"
	"kdiag/netfilter"
)

// The kernel leads a connection by what conntrack knows of it, and that outlives a redirect: whoever
// has called through the redirect and calls again from the same port may be led to its listener once
// more, and so is whoever is in the middle of the handshake. If nobody listened there any more, the
// kernel would refuse such a caller, and keep doing so. So the listener stays as long as there are
// rules of the manager's, and passes to the application what still comes.

// retire has the listener serve the application from now on. First has been accepted already; it may
// be nil.
func (r *redirectListener) retire(first *mux.TCP) {
	_ = r.listener.SetDeadline(time.Time{})
	if r.ruleSet.keepListener(r.listener, func() { r.serveRetired(first) }) {
		return
	}

	if first != nil {
		r.refuseConnection(first, wire.RefusedEnding)
	}
	r.closeListener()
}

// maxRetired bounds the listeners that are kept.
const maxRetired = 64

// keepListener keeps the listener of a redirect that is over until the back end is closed, or too many
// have come after it, and has it served meanwhile. It reports false if there are no rules.
func (r *ruleSet) keepListener(listener *net.TCPListener, serve func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.backend == nil {
		return false
	}

	if len(r.retired) == maxRetired {
		_ = r.retired[0].Close()
		r.retired = slices.Delete(r.retired, 0, 1)
	}
	r.retired = append(r.retired, listener)
	r.retiring.Go(serve)
	return true
}

// forgetDead has conntrack forget what led to listeners of managers that were killed. It does what it
// can: without it, callers from some ports are refused for a while.
func (r *ruleSet) forgetDead() {
	used := map[uint16]bool{}
	for _, path := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		err := procfs.EachInetSocket(path, func(s procfs.InetSocket) bool {
			used[s.Local.Port()] = true
			return true
		})
		// A kernel without IPv6 has no such file.
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			r.log.Debug("list sockets", "err", err)
			return
		}
	}

	if err := netfilter.ForgetDeadListeners(func(port uint16) bool { return used[port] }); err != nil {
		r.log.Debug("forget redirected connections", "err", err)
	}
}

// closeRetired closes the listeners that were kept. Where others keep conntrack at work, it has the
// kernel forget first which connections it led there. mu is held.
func (r *ruleSet) closeRetired() {
	ports := make([]uint16, 0, len(r.retired))
	for _, listener := range r.retired {
		ports = append(ports, portOf(listener))
	}
	if len(ports) > 0 {
		if err := netfilter.ForgetListeners(ports); err != nil {
			r.log.Debug("forget redirected connections", "err", err)
		}
	}

	for _, listener := range r.retired {
		_ = listener.Close()
	}
	r.retired = nil
}

// serveRetired passes connections to the application until the listener is closed.
func (r *redirectListener) serveRetired(first *mux.TCP) {
	defer r.ruleSet.setListenerPort(r.port(), false)
	if first != nil {
		r.passRetired(first)
	}

	for {
		conn, err := r.listener.AcceptTCP()
		switch {
		case err == nil:
			r.passRetired(mux.NewTCP(conn))
		case errors.Is(err, net.ErrClosed):
			return
		default:
			r.log.Warn("accept", "err", err)
			time.Sleep(acceptPause)
		}
	}
}

// passRetired passes one connection to the application, once there is a place for it. Those behind it
// wait in the kernel's queue.
func (r *redirectListener) passRetired(conn *mux.TCP) {
	to, err := r.originalDestination(conn)
	if r.recognizeTrial(conn, trialArrival{to, err}) {
		conn.Reset()
		return
	}
	if err != nil || !r.isDestination(to) {
		r.refuseStranger(conn, err)
		return
	}

	ctx, cancel := context.WithTimeout(r.application.ctx, roomPatience)
	defer cancel()
	if !r.pool.takeReserved(ctx) {
		r.refuseConnection(conn, wire.RefusedNoRoom)
		return
	}

	defer r.pool.giveBack()
	r.passToApplication(conn, to)
}

// passToApplication passes a connection, which has a place, to where it was going.
func (r *redirectListener) passToApplication(conn *mux.TCP, to netip.AddrPort) {
	failed := func(why string) { r.refuseConnection(conn, why) }
	if !r.application.serve(conn, to, failed) {
		failed(wire.RefusedEnding)
	}
}
