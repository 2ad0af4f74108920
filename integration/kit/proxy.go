package kit

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kdiag/mux/muxtest"
)

// Proxy stands between kdiag and the API server, to be cut.
type Proxy struct {
	net.Listener
	Dropped atomic.Int32 // connections that were cut

	delay time.Duration // of what passes, each way
	mu    sync.Mutex
	conns []net.Conn
	away  bool   // it accepts nothing
	from  net.IP // the address that it connects from; nil for any
}

// StartProxy starts a proxy, and returns the flags that lead through it.
func StartProxy(t *testing.T) (*Proxy, []string) {
	t.Helper()
	return StartDistantProxy(t, 0)
}

// StartDistantProxy starts a proxy that adds a round trip to what passes it, and
// returns the flags that lead through it.
func StartDistantProxy(t *testing.T, roundTrip time.Duration) (*Proxy, []string) {
	t.Helper()
	server := ReadServerURL(t)
	p := &Proxy{delay: roundTrip / 2}
	p.Listener = serveConnections(t, "127.0.0.1:0", func(conn *net.TCPConn) { p.forward(conn, server.Host) })
	t.Cleanup(p.Cut)
	return p, []string{"--server=https://" + p.Addr().String(), "--tls-server-name=" + server.Hostname()}
}

// forward carries a connection to the API server.
func (p *Proxy) forward(conn net.Conn, server string) {
	p.mu.Lock()
	away, dialer := p.away, net.Dialer{}
	if p.from != nil {
		dialer.LocalAddr = &net.TCPAddr{IP: p.from}
	}
	p.mu.Unlock()

	far, err := dialer.Dial("tcp", server)
	if err != nil || !p.keep(conn, far, away) {
		_ = conn.Close()
		return
	}

	go muxtest.CopyDelayed(far, conn, p.delay)
	muxtest.CopyDelayed(conn, far, p.delay)
}

// keep notes a connection to be cut. It closes the far one if the server is gone.
func (p *Proxy) keep(conn, far net.Conn, away bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if away || p.away {
		_ = far.Close()
		return false
	}
	p.conns = append(p.conns, conn, far)
	return true
}

// SetAway has the API server gone, with every connection, until it is back.
func (p *Proxy) SetAway(away bool) {
	p.mu.Lock()
	p.away = away
	p.mu.Unlock()
	if away {
		p.DropConnections()
	}
}

// ConnectFrom has connections come from another address of this machine.
func (p *Proxy) ConnectFrom(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.from = net.ParseIP(address)
}

// Cut ends every connection and accepts no more, as if the API server was gone.
func (p *Proxy) Cut() {
	_ = p.Close()
	p.DropConnections()
}

// DropConnections ends every connection, and goes on accepting new ones.
func (p *Proxy) DropConnections() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.conns {
		_ = conn.Close()
	}
	p.Dropped.Add(int32(len(p.conns) / 2))
	p.conns = nil
}

// StartDeafServer starts a server that accepts connections and never answers, and
// returns its port.
func StartDeafServer(t *testing.T, address string) string {
	t.Helper()
	listener := serveConnections(t, address, func(conn *net.TCPConn) { t.Cleanup(func() { _ = conn.Close() }) })
	return portOf(listener)
}

// DeafImage returns the name of an image in a registry that accepts the node's
// connections and never answers.
func DeafImage(t *testing.T) string {
	t.Helper()
	// The node reaches this machine by this address.
	return "10.199.0.1:" + StartDeafServer(t, ":0") + "/deaf:1"
}

// OldProxy stands between kdiag and the API server and knows no WebSocket, as
// older proxies do.
type OldProxy struct {
	URL           string
	refused, spdy atomic.Int32 // requests to upgrade a connection
}

// StartOldProxy starts a proxy that knows no WebSocket.
func StartOldProxy(t *testing.T) *OldProxy {
	t.Helper()
	p := &OldProxy{}
	forward := httputil.NewSingleHostReverseProxy(ReadServerURL(t))
	forward.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	forward.ErrorLog = log.New(io.Discard, "", 0)

	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch upgrade := strings.ToLower(r.Header.Get("Upgrade")); {
		case upgrade == "websocket":
			p.refused.Add(1)
			http.Error(w, "no such protocol", http.StatusBadRequest)
			return
		case strings.HasPrefix(upgrade, "spdy/"):
			p.spdy.Add(1)
		}
		forward.ServeHTTP(w, r)
	}))

	t.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

// Flags returns the flags that lead through the proxy. It ends TLS itself, so
// that the user has a token, not a certificate.
func (p *OldProxy) Flags(token string) []string {
	return []string{"--kubeconfig=/dev/null", "--server=" + p.URL, "--insecure-skip-tls-verify", "--token=" + token}
}

// VerifyFellBack fails the test unless WebSocket was tried first and SPDY then.
func (p *OldProxy) VerifyFellBack(t *testing.T) {
	t.Helper()
	if p.refused.Load() == 0 || p.spdy.Load() == 0 {
		t.Errorf("%d WebSockets refused, %d over SPDY, want some of each", p.refused.Load(), p.spdy.Load())
	}
}

// VerifyTried fails the test unless WebSocket was tried.
func (p *OldProxy) VerifyTried(t *testing.T) {
	t.Helper()
	if p.refused.Load() == 0 {
		t.Error("no WebSocket was tried")
	}
}
