package kube

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"k8s.io/client-go/tools/clientcmd/api"
)

// execServer serves nothing but exec, of a command that prints "done". It remembers its
// connections.
type execServer struct {
	*httptest.Server
	mu    sync.Mutex
	conns []net.Conn
	used  []string // addresses of the clients that sent an exec
}

func newExecServer(t *testing.T, protocols ...string) *execServer {
	t.Helper()
	s := &execServer{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.used = append(s.used, r.RemoteAddr)
		s.mu.Unlock()
		if len(protocols) == 0 {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no thanks", "reason": "Forbidden", "code": 403}`)
			return
		}

		conn, err := (&websocket.Upgrader{Subprotocols: protocols}).Upgrade(w, r, nil)
		if err != nil {
			return // the client reports it
		}
		defer conn.Close()

		// Channels 1 and 3 are stdout and the command's end (KEP-4006).
		_ = conn.WriteMessage(websocket.BinaryMessage, []byte("\x01done"))
		_ = conn.WriteMessage(websocket.BinaryMessage, []byte("\x03"+`{"status": "Success"}`))
		_ = conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
		_, _, _ = conn.ReadMessage()
	}))

	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Config.ConnState = func(conn net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.mu.Lock()
			s.conns = append(s.conns, conn)
			s.mu.Unlock()
		}
	}

	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// listConnections lists the addresses that connections came from, and those that execs came from.
func (s *execServer) listConnections() (clients, used []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.conns {
		clients = append(clients, conn.RemoteAddr().String())
	}

	return clients, slices.Clone(s.used)
}

// hangUp closes the only connection.
func (s *execServer) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.conns[0].Close()
}

func (s *execServer) connectCluster(t *testing.T) *Cluster {
	t.Helper()
	cluster, err := Connect(ConnectOptions{Kubeconfig: writeConfig(t, trustedConfig(s.Server), "{token: t}")}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return cluster
}

func (c *Cluster) runExec(t *testing.T) (string, error) {
	t.Helper()
	var out strings.Builder
	err := c.Exec(t.Context(), ExecRequest{
		Namespace: "ns", Pod: "web", Container: "app", Command: []string{"true"},
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: io.Discard, OpenTimeout: 20 * time.Second,
	})
	return out.String(), err
}

const protocolV5 = "v5.channel.k8s.io"

// waitPrepared waits for the prepared connection and returns it, or nil if there is none.
func (c *Cluster) waitPrepared() net.Conn {
	c.prepared.mu.Lock()
	d := c.prepared.dialed
	c.prepared.mu.Unlock()
	if d == nil {
		return nil
	}

	<-d.dialDone
	return d.conn
}

// TestDialAhead wants an exec to use the prepared connection, and the next one to make its own.
func TestDialAhead(t *testing.T) {
	server := newExecServer(t, protocolV5)
	cluster := server.connectCluster(t)
	cluster.DialAhead()
	cluster.DialAhead()
	conn := cluster.waitPrepared()
	if conn == nil {
		t.Fatal("no connection was made")
	}

	for range 2 {
		if out, err := cluster.runExec(t); out != "done" || err != nil {
			t.Errorf("exec = %q, %v", out, err)
		}
	}

	clients, used := server.listConnections()
	if len(clients) != 2 || clients[0] != conn.LocalAddr().String() || !slices.Equal(used, clients) {
		t.Errorf("connections from %q, execs from %q, want two, the first from %s", clients, used, conn.LocalAddr())
	}
}

// TestDialAheadUnused wants a connection closed that nobody takes, and an exec after that to
// make its own.
func TestDialAheadUnused(t *testing.T) {
	server := newExecServer(t, protocolV5)
	cluster := server.connectCluster(t)
	cluster.DialAhead()
	_ = cluster.waitPrepared()
	d := cluster.prepared.dialed
	cluster.prepared.dropUnused(d) // as after preparedLife
	if err := <-d.readEnd; err == nil {
		t.Error("the connection has not ended")
	}
	if out, err := cluster.runExec(t); out != "done" || err != nil {
		t.Errorf("exec = %q, %v", out, err)
	}

	cluster.DialAhead()
	next := cluster.waitPrepared()
	cluster.prepared.dropUnused(d)
	if next == nil || cluster.waitPrepared() != next {
		t.Error("an old connection's end took the new one with it")
	}
	if clients, used := server.listConnections(); len(clients) != 3 || used[0] != clients[1] {
		t.Errorf("connections from %q, execs from %q, want the exec on the second of three", clients, used)
	}
}

// TestDialAheadClosed wants an exec not to use a connection that the server has closed.
func TestDialAheadClosed(t *testing.T) {
	server := newExecServer(t, protocolV5)
	cluster := server.connectCluster(t)
	cluster.DialAhead()
	if cluster.waitPrepared() == nil {
		t.Fatal("no connection was made")
	}

	d := cluster.prepared.dialed
	server.hangUp()
	d.readEnd <- <-d.readEnd // the close has come
	if out, err := cluster.runExec(t); out != "done" || err != nil {
		t.Errorf("exec = %q, %v", out, err)
	}
	if clients, used := server.listConnections(); len(clients) != 2 || used[0] != clients[1] {
		t.Errorf("connections from %q, execs from %q, want the exec on the second", clients, used)
	}
}

// TestDialAheadNot wants no connection prepared with a proxy or a credential plugin.
func TestDialAheadNot(t *testing.T) {
	server := newExecServer(t, protocolV5)
	t.Setenv("HTTPS_PROXY", "")
	plugin := server.connectCluster(t)
	plugin.streams.ExecProvider = &api.ExecConfig{Command: "login"}
	plugin.DialAhead()
	proxied, err := Connect(ConnectOptions{Kubeconfig: writeConfig(t,
		`{insecure-skip-tls-verify: true, server: "`+server.URL+`", proxy-url: "http://`+findClosedPort(t)+`"}`, "{}")}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}

	proxied.DialAhead()
	if clients, _ := server.listConnections(); plugin.prepared.dialed != nil || proxied.prepared.dialed != nil || len(clients) > 0 {
		t.Errorf("connections from %q, want none", clients)
	}
}

// TestDialAheadFails wants the exec itself to say why there is no connection.
func TestDialAheadFails(t *testing.T) {
	server := newExecServer(t, protocolV5)
	cluster := server.connectCluster(t)
	server.Close()
	cluster.DialAhead()
	if _, err := cluster.runExec(t); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("exec = %v, want: connection refused", err)
	}
}

// TestExecRefused wants the server's own words in the error, and a protocol refused that nobody
// asked for.
func TestExecRefused(t *testing.T) {
	if _, err := newExecServer(t).connectCluster(t).runExec(t); err == nil || !strings.Contains(err.Error(), ": no thanks") {
		t.Errorf("exec = %v, want the server's words", err)
	}
	if out, err := newExecServer(t, "v1.other").connectCluster(t).runExec(t); err == nil || out != "" {
		t.Errorf("exec over a foreign protocol = %q, %v, want an error", out, err)
	}
}
