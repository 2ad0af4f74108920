package integration

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kdiag/integration/kit"
	"kdiag/kube"

	"go.uber.org/goleak"
)

// openTimeout gives a busy machine the time to open a port-forward.
const openTimeout = 30 * time.Second

// echoPod describes a pod that serves HTTP at 8080 and echoes at 7777.
const echoPod = `
apiVersion: v1
kind: Pod
metadata: {name: echo}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: app, image: "localhost/kdiag-sample:full", imagePullPolicy: Never}
  - {name: echo, image: "localhost/kdiag-sample:full", imagePullPolicy: Never, command: [/bin/busybox, nc, -lk, -p, "7777", -e, /bin/cat]}
`

// TestPortForward sends bytes both ways over WebSocket and over SPDY.
func TestPortForward(t *testing.T) {
	namespace := kit.CreateNamespace(t)
	kit.AddPods(t, namespace, echoPod)
	proxy := kit.StartOldProxy(t)
	token := kit.CreateAdminToken(t, namespace)
	for name, c := range map[string]*kube.Cluster{
		"WebSocket": kit.ConnectCluster(t, namespace, nil),
		"SPDY": kit.ConnectCluster(t, namespace, func(o *kube.ConnectOptions) {
			*o = kube.ConnectOptions{Kubeconfig: os.DevNull, Server: proxy.URL, InsecureSkipTLSVerify: true, Token: token, Namespace: namespace}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			open := func(t *testing.T, port uint16) net.Conn {
				t.Helper()
				conn, err := c.PortForward(t.Context(), namespace, "echo", port, openTimeout)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = conn.Close() })
				return conn
			}

			t.Run("HTTP", func(t *testing.T) { fetchThrice(t, open(t, 8080)) })
			t.Run("8 MiB", func(t *testing.T) { echoMebibytes(t, open(t, 7777)) })
			t.Run("nobody listens", func(t *testing.T) {
				conn := open(t, 7999)
				_, err := conn.Read(make([]byte, 1))
				kit.VerifyError(t, "Read", err, "forward to port 7999 of pod "+namespace+"/echo: ", "listens on 127.0.0.1:7999")
				kit.VerifyError(t, "Read", err, "connection refused", "")
				_, err = conn.Write([]byte("x"))
				kit.VerifyError(t, "Write after it", err, "connection refused", "")
			})

			t.Run("end of stream", func(t *testing.T) {
				conn := open(t, 8080)
				if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(got), "sample app on echo\n") {
					t.Errorf("ReadAll = %q, %v, want the answer and a clean end", got, err)
				}
			})

			t.Run("read deadline", func(t *testing.T) {
				conn := open(t, 7777)
				_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
				if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("Read after its deadline: %v", err)
				}

				_ = conn.SetReadDeadline(time.Time{})
				_, _ = conn.Write([]byte("x"))
				got := make([]byte, 1)
				if _, err := conn.Read(got); err != nil || got[0] != 'x' {
					t.Errorf("Read once more = %q, %v, want x", got, err)
				}
			})

			t.Run("close", func(t *testing.T) { verifyClose(t, func() net.Conn { return open(t, 7777) }) })
			t.Run("write deadline", func(t *testing.T) {
				conn := open(t, 7777)
				_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
				started := time.Now()
				// Nobody reads the echo, so that it backs up.
				if err := writeUntilError(conn, &atomic.Int64{}); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(started) > 5*time.Second {
					t.Errorf("Write with a deadline: %v after %s", err, time.Since(started))
				}
			})
		})
	}

	proxy.VerifyFellBack(t)
}

// fetchThrice sends HTTP requests one after the other through a connection.
func fetchThrice(t *testing.T, conn net.Conn) {
	t.Helper()
	reader := bufio.NewReader(conn)
	for range 3 {
		request, err := http.NewRequest(http.MethodGet, "http://echo/there", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err = request.Write(conn); err != nil {
			t.Fatal(err)
		}

		response, err := http.ReadResponse(reader, request)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(response.Body); err != nil || string(got) != "sample app on echo\n" {
			t.Errorf("answer = %q, %v", got, err)
		}

		_ = response.Body.Close()
	}
}

// echoMebibytes sends more than any buffer holds, all at once, and wants it back.
func echoMebibytes(t *testing.T, conn net.Conn) {
	t.Helper()
	sent, got := make([]byte, 8<<20), make([]byte, 8<<20)
	_, _ = rand.Read(sent)
	started := time.Now()

	wrote := make(chan error, 1)
	go func() {
		_, err := conn.Write(sent)
		wrote <- err
	}()

	if n, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("ReadFull = %d, %v, want what was sent", n, err)
	}
	if err := <-wrote; err != nil {
		t.Errorf("Write = %v", err)
	}

	t.Logf("8 MiB there and back in %s", time.Since(started))
}

// writeUntilError writes blocks until it fails, and counts them.
func writeUntilError(conn net.Conn, blocks *atomic.Int64) error {
	for block := make([]byte, 1<<20); ; blocks.Add(1) {
		if _, err := conn.Write(block); err != nil {
			return err
		}
	}
}

// verifyClose has Close end a Read and a Write that are under way, and leave no
// goroutine behind.
func verifyClose(t *testing.T, open func() net.Conn) {
	t.Helper()
	before := goleak.IgnoreCurrent()

	conn := open()
	reads := make(chan error, 1)
	go func() { reads <- readByte(conn) }()
	kit.WaitUntil(t, "the Read to be under way", isReading)
	verifyCloseIsQuick(t, conn)
	if err := <-reads; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read when closed: %v", err)
	}
	if _, err := conn.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after Close: %v", err)
	}

	conn = open()
	writes := make(chan error, 1)
	var blocks atomic.Int64
	go func() { writes <- writeUntilError(conn, &blocks) }()
	waitForStandstill(t, &blocks)
	verifyCloseIsQuick(t, conn)
	if err := <-writes; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write when closed: %v", err)
	}

	if err := goleak.Find(before); err != nil {
		t.Errorf("after Close: %v", err)
	}
}

// readByte reads one byte.
func readByte(conn net.Conn) error {
	_, err := conn.Read(make([]byte, 1))
	return err
}

// isReading tells whether a goroutine waits in readByte.
func isReading() bool {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for stack := range bytes.SplitSeq(stacks, []byte("\n\n")) {
		state, _, _ := bytes.Cut(stack, []byte("\n"))
		if bytes.Contains(stack, []byte(".readByte(")) && !bytes.Contains(state, []byte("run")) {
			return true
		}
	}
	return false
}

// waitForStandstill waits until a count stays the same: nobody reads the echo, so
// that writing backs up.
func waitForStandstill(t *testing.T, count *atomic.Int64) {
	t.Helper()
	var last int64
	since := time.Now()
	kit.WaitUntil(t, "writing to back up", func() bool {
		if now := count.Load(); now != last {
			last, since = now, time.Now()
		}
		return last > 0 && time.Since(since) > 500*time.Millisecond
	})
}

// verifyCloseIsQuick closes a connection twice, which must not take long.
func verifyCloseIsQuick(t *testing.T, conn net.Conn) {
	t.Helper()
	started := time.Now()
	for range 2 {
		if err := conn.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	if took := time.Since(started); took > time.Second {
		t.Errorf("Close took %s", took)
	}
}

// TestPortForwardFails says why a port-forward could not be opened, or ended.
func TestPortForwardFails(t *testing.T) {
	namespace := kit.SharedPods(t)
	proxy, through := kit.StartProxy(t)
	for name, c := range map[string]struct {
		change      func(*kube.ConnectOptions)
		verb        string // that the user has
		pod         string
		words, hint string
	}{
		"no such pod":   {nil, "", "nothere", `pods "nothere" not found`, ""},
		"no server":     {func(o *kube.ConnectOptions) { o.Server = "https://127.0.0.1:1" }, "", "distroless", "connection refused", "check that the cluster is up"},
		"deaf server":   {func(o *kube.ConnectOptions) { o.Server = "https://127.0.0.1:" + kit.StartDeafServer(t, "127.0.0.1:0") }, "", "distroless", "no answer within 2s", ""},
		"no right":      {nil, "none", "distroless", "not allowed to create pods/portforward in namespace", `verb "create" on pods/portforward`},
		"only to get":   {nil, "get", "distroless", "not allowed to create pods/portforward in namespace", `verb "create" on pods/portforward`},
		"create is all": {nil, "create", "distroless", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			user := strings.ReplaceAll(namespace, "test", "forward-"+c.verb)
			cluster := kit.ConnectCluster(t, namespace, func(o *kube.ConnectOptions) {
				if c.change != nil {
					c.change(o)
				}
				if c.verb != "" {
					o.As = user
				}
			})
			if c.verb == "get" || c.verb == "create" {
				kit.CreateRole(t, namespace, user, user, "--verb="+c.verb, "--resource=pods/portforward")
			}

			started := time.Now()
			conn, err := cluster.PortForward(t.Context(), namespace, c.pod, 8080, 2*time.Second)
			if took := time.Since(started); took > 4*time.Second {
				t.Errorf("PortForward took %s", took)
			}

			if c.words != "" {
				kit.VerifyError(t, "PortForward", err, c.words, c.hint)
				return
			}

			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()

			fetchOnce(t, conn)
		})
	}

	t.Run("the API server gone", func(t *testing.T) {
		conn, err := kit.ConnectCluster(t, namespace, func(o *kube.ConnectOptions) {
			o.Server = strings.TrimPrefix(through[0], "--server=")
			o.TLSServerName = strings.TrimPrefix(through[1], "--tls-server-name=")
		}).PortForward(t.Context(), namespace, "distroless", 8080, openTimeout)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()

		fetchOnce(t, conn)
		proxy.Cut()
		_, err = conn.Read(make([]byte, 1))
		kit.VerifyError(t, "Read", err, "the connection to the API server was lost", "")
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Read = %v, want io.ErrUnexpectedEOF", err)
		}
	})
}

// fetchOnce sends one HTTP request through a connection.
func fetchOnce(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}

	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("answer = %v, %v", response, err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
}
