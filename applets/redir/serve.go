package redir

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"kdiag/mux"

	"github.com/pires/go-proxyproto"
)

// redirect is a spec that holds.
type redirect struct {
	spec
	id uint32
	// reached is the address of local that answered last, tried first: a name
	// such as localhost has several, of which often one is served.
	reached atomic.Pointer[string]
}

// accept serves the streams that the manager opens until the session ends.
func (l *link) accept() {
	for {
		stream, err := l.session.Accept()
		if err != nil {
			return
		}
		l.proxied.Go(func() { l.serve(stream) })
	}
}

// dialTimeout bounds the wait for the local program to take a connection.
const dialTimeout = 10 * time.Second

// serve connects one stream with the local program. A program that is not
// there gives the caller what it would have got from the pod: a reset.
func (l *link) serve(stream *mux.Conn) {
	header, err := stream.ReadHeader()
	if err != nil { // its caller is gone already
		stream.Reset()
		return
	}

	r := l.redirects[header.Redirect]
	if r == nil {
		stream.Reset()
		l.report.failed(fmt.Errorf("a connection from %s came by no redirect of ours", header.Source))
		return
	}

	c := l.report.opened(r, header)
	local, err := l.dialLocal(r, header)
	if err != nil {
		stream.Reset()
		c.refused(err)
		return
	}

	c.closed(l.proxier.Proxy(stream, local, c.moved))
}

func (l *link) dialLocal(r *redirect, header mux.Header) (*mux.TCP, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	conn, err := r.dial(ctx)
	if err != nil {
		return nil, refusal(r.local, err)
	}

	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, fmt.Errorf("connect to %s: a %T", r.local, conn)
	}

	if l.options.proxyProtocol {
		if _, err := proxyHeader(header).WriteTo(tcp); err != nil {
			_ = tcp.Close()
			return nil, fmt.Errorf("send the PROXY header to %s: %w", r.local, err)
		}
	}

	return mux.NewTCP(tcp), nil
}

func (r *redirect) dial(ctx context.Context) (net.Conn, error) {
	var dialer net.Dialer
	if address := r.reached.Load(); address != nil {
		if conn, err := dialer.DialContext(ctx, "tcp", *address); err == nil {
			return conn, nil
		}
	}

	conn, err := dialer.DialContext(ctx, "tcp", r.local)
	if err == nil {
		address := conn.RemoteAddr().String()
		r.reached.Store(&address)
	}

	return conn, err
}

// refusal says in a few words what a dial's error means.
func refusal(local string, err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("nothing listens on %s", local)
	}
	return fmt.Errorf("connect to %s: %w", local, err)
}

// proxyHeader tells the local program who called whom (PROXY protocol,
// version 2).
func proxyHeader(h mux.Header) *proxyproto.Header {
	return proxyproto.HeaderProxyFromAddrs(2, net.TCPAddrFromAddrPort(h.Source), net.TCPAddrFromAddrPort(h.Destination))
}
