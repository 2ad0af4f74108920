package manager

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"

	"kdiag/applets"
	"kdiag/applets/internal/pod/footprint"
	"kdiag/applets/internal/pod/lockdown"
	"kdiag/applets/internal/pod/procfs"
	"kdiag/applets/internal/pod/redirectserver"
	"kdiag/applets/internal/pod/sparselog"
	"kdiag/mux"
	"kdiag/mux/wire"
	"kdiag/netfilter"

	"golang.org/x/sys/unix"
)

// runNet serves its user's redirects until there have been none for the idle timeout, or ctx ends.
func runNet(ctx context.Context, streams applets.Streams, opts options) error {
	// Its children have the right, too: the iptables programs, where the kernel has no nftables.
	const netAdmin = procfs.CapSet(1 << unix.CAP_NET_ADMIN)
	if err := lockdown.KeepCapabilities(netAdmin, netAdmin); err != nil {
		return err
	}

	server, ready, err := newServer(streams, opts)
	if err != nil {
		return err
	}

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

	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- server.Serve(serving, listener, older) }()

	err = waitUntilIdle(ctx, streams, opts, work{
		memoryLimit: footprint.Serving,
		inUse:       func() (bool, error) { return server.Busy(), nil },
	})
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
	address, _ := listener.Addr().(*net.TCPAddr)
	return uint16(address.Port)
}

// listenLoopback takes a port of the kernel's choice on loopback: port-forwards end there, and
// nothing from outside the pod gets there.
func listenLoopback(ctx context.Context) (net.Listener, error) {
	// The session's heartbeats find out that a peer is dead.
	config := net.ListenConfig{KeepAlive: -1}
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		listener, err = config.Listen(ctx, "tcp", "[::1]:0")
	}
	if err != nil {
		return nil, fmt.Errorf("listen on the pod's loopback: %w", err)
	}

	return listener, nil
}

// newServer makes the server, and the part of the ready line that is about it.
func newServer(streams applets.Streams, opts options) (*redirectserver.Server, wire.Ready, error) {
	key, err := mux.NewKey()
	if err != nil {
		return nil, wire.Ready{}, err
	}

	var random [4]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, wire.Ready{}, err
	}
	id := hex.EncodeToString(random[:])

	server, err := redirectserver.New(redirectserver.Config{
		Key: key, User: opts.user, Version: opts.version, ID: id, Log: sparselog.New(streams.Err),
	})
	if err != nil {
		return nil, wire.Ready{}, err
	}

	public, _ := key.Public().(ed25519.PublicKey)
	return server, wire.Ready{Protocol: mux.Version, Key: mux.HashKey(public), Nftables: probeNftables(id)}, nil
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
