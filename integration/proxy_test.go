package integration

import (
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kdiag/mux/muxtest"
)

// server is the address of the API server.
func server(t *testing.T) *url.URL {
	t.Helper()
	address, err := url.Parse(kubectl(t, "config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"))
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// proxy stands between kdiag and the API server, to be cut.
type proxy struct {
	net.Listener
	delay   time.Duration // of what passes, each way
	dropped atomic.Int32
	mu      sync.Mutex
	conns   []net.Conn
}

// newProxy starts one, and returns the flags that lead through it.
func newProxy(t *testing.T) (*proxy, []string) {
	t.Helper()
	return newFarProxy(t, 0)
}

// newFarProxy starts one from which the API server is a round trip away.
func newFarProxy(t *testing.T, trip time.Duration) (*proxy, []string) {
	t.Helper()
	to := server(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	p := &proxy{Listener: listener, delay: trip / 2}
	t.Cleanup(p.cut)
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

// cut ends every connection and takes no more: the API server is gone.
func (p *proxy) cut() {
	_ = p.Close()
	p.drop()
}

// drop ends every connection, and goes on taking new ones.
func (p *proxy) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.conns {
		_ = conn.Close()
	}
	p.dropped.Add(int32(len(p.conns) / 2))
	p.conns = nil
}

// deaf is a server that takes connections and never answers; it returns its
// port.
func deaf(t *testing.T, address string) string {
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
