package kit

import (
	"crypto/tls"
	"io"
	"kdiag/mux/muxtest"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// ReadServerURL is the address of the API server.
func ReadServerURL(t *testing.T) *url.URL {
	t.Helper()
	address, err := url.Parse(RunKubectl(t, "config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"))
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// Proxy stands between kdiag and the API server, to be cut.
type Proxy struct {
	net.Listener
	delay   time.Duration // of what passes, each way
	Dropped atomic.Int32
	mu      sync.Mutex
	conns   []net.Conn
}

// Cut ends every connection and takes no more: the API server is gone.
func (p *Proxy) Cut() {
	_ = p.Close()
	p.DropConnections()
}

// DropConnections ends every connection, and goes on taking new ones.
func (p *Proxy) DropConnections() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.conns {
		_ = conn.Close()
	}
	p.Dropped.Add(int32(len(p.conns) / 2))
	p.conns = nil
}

// StartProxy starts one, and returns the flags that lead through it.
func StartProxy(t *testing.T) (*Proxy, []string) {
	t.Helper()
	return StartDistantProxy(t, 0)
}

// StartDistantProxy starts one from which the API server is a round trip away.
func StartDistantProxy(t *testing.T, trip time.Duration) (*Proxy, []string) {
	t.Helper()
	to := ReadServerURL(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	p := &Proxy{Listener: listener, delay: trip / 2}
	t.Cleanup(p.Cut)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}

			far, err := net.Dial("tcp", to.Host)
			if err != nil {
				_ = conn.Close()
				continue
			}

			p.mu.Lock()
			p.conns = append(p.conns, conn, far)
			p.mu.Unlock()
			go muxtest.Delay(far, conn, p.delay)
			go muxtest.Delay(conn, far, p.delay)
		}
	}()

	return p, []string{"--server=https://" + listener.Addr().String(), "--tls-server-name=" + to.Hostname()}
}

// StartDeafServer is a server that takes connections and never answers; it returns its
// port.
func StartDeafServer(t *testing.T, address string) string {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
		}
	}()

	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}

// StartProxyWithoutWebSocket starts a proxy before the API server that knows no WebSocket, as
// older ones do.
func StartProxyWithoutWebSocket(t *testing.T) (at string, refused, spdy *atomic.Int32) {
	t.Helper()
	refused, spdy = new(atomic.Int32), new(atomic.Int32)
	forward := httputil.NewSingleHostReverseProxy(ReadServerURL(t))
	forward.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	forward.ErrorLog = log.New(io.Discard, "", 0)
	old := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch upgrade := strings.ToLower(r.Header.Get("Upgrade")); {
		case upgrade == "websocket":
			refused.Add(1)
			http.Error(w, "no such protocol", http.StatusBadRequest)
			return
		case strings.HasPrefix(upgrade, "spdy/"):
			spdy.Add(1)
		}
		forward.ServeHTTP(w, r)
	}))

	t.Cleanup(old.Close)
	return old.URL, refused, spdy
}
