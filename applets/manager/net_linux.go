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

// runNet serves its user's redirects.
func runNet(ctx context.Context, streams applets.Streams, opts options) error {
	// The programs that it runs where the kernel has no nftables need the right, too.
	const netAdmin = procfs.CapSet(1 << unix.CAP_NET_ADMIN)
	if err := lockdown.Keep(netAdmin, netAdmin); err != nil {
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

	// Before it serves anybody: nothing that a stranger causes stands before it.
	if err := announce(streams, opts, ready); err != nil {
		return err
	}

	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- server.Serve(serving, listener, older) }()
	err = wait(ctx, streams, opts, work{limit: footprint.Serving, inUse: func() (bool, error) { return server.Busy(), nil }})
	stop()

	if serveErr := <-served; err == nil {
		err = serveErr
	}
	if closeErr := server.Close(); err == nil {
		err = closeErr
	}

	return err
}

// portOf is the port of a TCP listener.
func portOf(listener net.Listener) uint16 {
	address, _ := listener.Addr().(*net.TCPAddr)
	return uint16(address.Port)
}

// listenLoopback takes a port of the kernel's choice where a port-forward
// comes out, and nothing from outside can.
func listenLoopback(ctx context.Context) (net.Listener, error) {
	// A dead peer is found by the link's heartbeats.
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

func newServer(streams applets.Streams, opts options) (*redirectserver.Server, wire.Ready, error) {
	key, err := mux.NewKey()
	if err != nil {
		return nil, wire.Ready{}, err
	}

	var id [4]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, wire.Ready{}, err
	}

	server, err := redirectserver.New(redirectserver.Config{
		Key: key, User: opts.user, Version: opts.version, ID: hex.EncodeToString(id[:]),
		Log: sparselog.New(streams.Err),
	})
	public, _ := key.Public().(ed25519.PublicKey)
	return server, wire.Ready{Protocol: mux.Version, Key: mux.KeyHash(public), Nftables: probe(hex.EncodeToString(id[:]))}, err
}

// probe says what the kernel has for redirects.
func probe(id string) string {
	switch owner, err := netfilter.ProbeNFT(id); {
	case err != nil:
		return err.Error()
	case owner:
		return wire.NftOwner
	}
	return wire.NftPlain
}
