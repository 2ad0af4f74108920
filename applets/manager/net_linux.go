package manager

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"syscall"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/pod/footprint"
	"kdiag/applets/internal/pod/lockdown"
	"kdiag/applets/internal/pod/podsockets"
	"kdiag/applets/internal/pod/procfs"
	"kdiag/applets/internal/pod/redirectserver"
	"kdiag/applets/internal/pod/sparselog"
	"kdiag/mux"
	"kdiag/mux/wire"
	"kdiag/netfilter"

	"golang.org/x/sys/unix"
)

// runNet serves its user's redirects until there have been none for the idle timeout. When ctx ends
// it goes on until there is no session or the pod's application has ended.
func runNet(ctx context.Context, streams applets.Streams, opts options) error {
	// Its children have the right, too: the iptables programs, if the kernel has no nftables.
	const netAdmin = procfs.CapSet(1 << unix.CAP_NET_ADMIN)
	if err := lockdown.KeepCapabilities(netAdmin, netAdmin); err != nil {
		return err
	}

	key, err := mux.NewKey()
	if err != nil {
		return err
	}

	id, err := newID()
	if err != nil {
		return err
	}

	server, err := newServer(streams, opts, key, id)
	if err != nil {
		return err
	}
	ready := newReady(key, id)

	listener, err := listenLoopback(ctx)
	if err != nil {
		return err
	}

	older, err := listenLoopback(ctx)
	if err != nil {
		return err
	}

	ready.Port, ready.OlderPort = portOf(listener), portOf(older)

	// Before it serves anybody: so nothing that strangers cause comes before this line in the log.
	if err := announceReady(streams, opts, ready); err != nil {
		return err
	}

	// A pod's end does not end its redirects: see outliveApplication.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- server.Serve(serving, listener, older) }()

	redirects := work{
		memoryLimit:     footprint.ServingLimit,
		inUse:           func() (bool, error) { return server.Busy(), nil },
		applicationLeft: func() (bool, error) { return podsockets.AnyOfOthers(redirectserver.Mark, netfilter.LockName) },
	}
	err = waitUntilIdle(ctx, streams, opts, redirects)
	if err == nil && ctx.Err() != nil {
		redirects.outliveApplication(streams)
		server.Drain(drainTime)
	}
	stop()

	if serveErr := <-served; err == nil {
		err = serveErr
	}
	if closeErr := server.Close(); err == nil {
		err = closeErr
	}

	return err
}

// portOf returns the port of a TCP listener.
func portOf(listener net.Listener) uint16 {
	if address, ok := listener.Addr().(*net.TCPAddr); ok {
		return uint16(address.Port)
	}
	return 0
}

// listenLoopback takes a port of the kernel's choice on loopback: port-forwards end there, and
// nothing from outside the pod gets there.
func listenLoopback(ctx context.Context) (net.Listener, error) {
	// The session's heartbeats find out that a peer is dead.
	config := net.ListenConfig{KeepAlive: -1, Control: markDoor}
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		listener, err = config.Listen(ctx, "tcp", "[::1]:0")
	}
	if err != nil {
		return nil, fmt.Errorf("listen on the pod's loopback: %w", err)
	}

	return listener, nil
}

// markDoor marks a listener, as far as the manager may, so that other managers in the pod know it.
func markDoor(network, address string, c syscall.RawConn) error {
	_ = netfilter.ControlMark(redirectserver.Mark)(network, address, c)
	return nil
}

// drainTime is how long connections may go on once the application has ended. The pod's end waits
// for it.
const drainTime = 500 * time.Millisecond

// newID makes up an ID that tells this manager's rules in the kernel from others'.
func newID() (string, error) {
	var random [4]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", err
	}
	return hex.EncodeToString(random[:]), nil
}

// newServer makes a server that logs to stderr.
func newServer(streams applets.Streams, opts options, key ed25519.PrivateKey, id string) (*redirectserver.Server, error) {
	return redirectserver.New(redirectserver.Config{
		Key: key, User: opts.user, Version: opts.version, ID: id, Log: sparselog.New(streams.Err),
	})
}

// newReady makes the ready line, without the ports.
func newReady(key ed25519.PrivateKey, id string) wire.Ready {
	public, _ := key.Public().(ed25519.PublicKey)
	return wire.Ready{Protocol: mux.ProtocolVersion, Key: mux.HashKey(public), Nftables: probeNftables(id)}
}

// probeNftables tells the laptop what the kernel has for redirects.
func probeNftables(id string) string {
	switch owner, err := netfilter.ProbeNFT(id); {
	case err != nil:
		return err.Error()
	case owner:
		return wire.NftOwner
	}
	return wire.NftPlain
}
