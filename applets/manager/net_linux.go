package manager

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"

	"kdiag/applets"
	"kdiag/applets/internal/footprint"
	"kdiag/applets/internal/lockdown"
	"kdiag/applets/internal/procfs"
	"kdiag/applets/internal/redirector"
	"kdiag/mux"
	"kdiag/netfilter"

	"golang.org/x/sys/unix"
)

// runNet serves its user's redirects.
func runNet(ctx context.Context, streams applets.Streams, opts Options) error {
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
	ready.Port = uint16(listener.Addr().(*net.TCPAddr).Port) //nolint:forcetypeassert // of a TCP listener
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- server.Serve(serving, listener) }()
	err = wait(ctx, streams, opts, work{
		ready: ready, limit: footprint.Serving, inUse: func() (bool, error) { return server.Busy(), nil },
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

// listenLoopback takes a port of the kernel's choice where a port-forward
// comes out, and nothing from outside can.
func listenLoopback(ctx context.Context) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		listener, err = config.Listen(ctx, "tcp", "[::1]:0")
	}
	if err != nil {
		return nil, fmt.Errorf("listen on the pod's loopback: %w", err)
	}
	return listener, nil
}

func newServer(streams applets.Streams, opts Options) (*redirector.Server, mux.Started, error) {
	key, err := mux.NewKey()
	if err != nil {
		return nil, mux.Started{}, err
	}
	var id [4]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, mux.Started{}, err
	}
	server, err := redirector.New(redirector.Config{
		Key: key, User: opts.User, Version: opts.Version, ID: hex.EncodeToString(id[:]),
		Log: slog.New(slog.NewTextHandler(streams.Err, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	public, _ := key.Public().(ed25519.PublicKey)
	return server, mux.Started{Key: mux.KeyHash(public), Nftables: probe(hex.EncodeToString(id[:]))}, err
}

// probe says what the kernel has for redirects.
func probe(id string) string {
	switch owner, err := netfilter.Probe(id); {
	case err != nil:
		return err.Error()
	case owner:
		return mux.NftOwner
	}
	return mux.NftPlain
}
