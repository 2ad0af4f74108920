package integration

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"kdiag/integration/kit"
	"kdiag/kube"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// openTimeout is long enough for a busy machine.
const openTimeout = 30 * time.Second

// echoPod is a pod that serves HTTP at 8080 and echoes at 7777.
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
	kit.ApplyManifest(t, namespace, echoPod)
	kit.WaitForPods(t, namespace)
	old, refused, spdy := kit.StartProxyWithoutWebSocket(t)
	word := kit.CreateAdminToken(t, namespace)
	for name, c := range map[string]*kube.Cluster{
		"WebSocket": kit.ConnectCluster(t, namespace, nil),
		"SPDY": kit.ConnectCluster(t, namespace, func(o *kube.Options) {
			*o = kube.Options{Kubeconfig: os.DevNull, Server: old, InsecureSkipTLSVerify: true, Token: word, Namespace: namespace}
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
				kit.VerifyError(t, "Read", err, "forward to port 7999 of pod "+namespace+"/echo: ", "listen on 127.0.0.1:7999")
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
				if err := writeUntilError(conn); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(started) > 5*time.Second {
					t.Errorf("Write with a deadline: %v after %s", err, time.Since(started))
				}
			})
		})
	}

	if refused.Load() == 0 || spdy.Load() == 0 {
		t.Errorf("%d WebSockets refused, %d over SPDY, want some of each", refused.Load(), spdy.Load())
	}
}

func fetchThrice(t *testing.T, conn net.Conn) {
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

func echoMebibytes(t *testing.T, conn net.Conn) {
	sent, got := make([]byte, 8<<20), make([]byte, 8<<20)
	_, _ = rand.Read(sent)
	started := time.Now()
	wrote := make(chan error, 1)
	go func() {
		_, err := conn.Write(sent) // all at once
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

// writeUntilError writes until it fails.
func writeUntilError(conn net.Conn) error {
	for block := make([]byte, 1<<20); ; {
		if _, err := conn.Write(block); err != nil {
			return err
		}
	}
}

// verifyClose holds that Close ends what is under way, and leaves nothing.
func verifyClose(t *testing.T, open func() net.Conn) {
	before := goleak.IgnoreCurrent()
	conn := open()
	reads, writes := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		reads <- err
	}()

	time.Sleep(100 * time.Millisecond)
	verifyCloseIsQuick(t, conn)
	if err := <-reads; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read when closed: %v", err)
	}
	if _, err := conn.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after Close: %v", err)
	}

	conn = open()
	go func() { writes <- writeUntilError(conn) }()
	time.Sleep(2 * time.Second) // until it backs up
	verifyCloseIsQuick(t, conn)
	if err := <-writes; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write when closed: %v", err)
	}
	if err := goleak.Find(before); err != nil {
		t.Errorf("after Close: %v", err)
	}
}

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

// TestPortForwardFails names what is missing.
func TestPortForwardFails(t *testing.T) {
	namespace := kit.SharedPods(t)
	cut, through := kit.StartProxy(t)
	for name, c := range map[string]struct {
		change      func(*kube.Options)
		verb        string // that the user has
		pod         string
		words, hint string
	}{
		"no such pod":   {nil, "", "nothere", `pods "nothere" not found`, ""},
		"no server":     {func(o *kube.Options) { o.Server = "https://127.0.0.1:1" }, "", "distroless", "connection refused", "is the cluster up"},
		"deaf server":   {func(o *kube.Options) { o.Server = "https://127.0.0.1:" + kit.StartDeafServer(t, "127.0.0.1:0") }, "", "distroless", "no answer within 2s", ""},
		"no right":      {nil, "none", "distroless", "no right to create pods/portforward in namespace", `verb "create" on pods/portforward`},
		"only to get":   {nil, "get", "distroless", "no right to create pods/portforward in namespace", `verb "create" on pods/portforward`},
		"create is all": {nil, "create", "distroless", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := kit.ConnectCluster(t, namespace, func(o *kube.Options) {
				if c.change != nil {
					c.change(o)
				}
				if c.verb != "" {
					o.As = strings.ReplaceAll(namespace, "test", "forward-"+c.verb)
				}
			})
			if c.verb == "get" || c.verb == "create" {
				user := strings.ReplaceAll(namespace, "test", "forward-"+c.verb)
				kit.RunKubectl(t, "create", "role", "-n", namespace, user, "--verb="+c.verb, "--resource=pods/portforward")
				kit.RunKubectl(t, "create", "rolebinding", "-n", namespace, user, "--role="+user, "--user="+user)
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
		conn, err := kit.ConnectCluster(t, namespace, func(o *kube.Options) {
			o.Server = strings.TrimPrefix(through[0], "--server=")
			o.TLSServerName = strings.TrimPrefix(through[1], "--tls-server-name=")
		}).PortForward(t.Context(), namespace, "distroless", 8080, openTimeout)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()

		fetchOnce(t, conn)
		cut.Cut()
		_, err = conn.Read(make([]byte, 1))
		kit.VerifyError(t, "Read", err, "the connection to the API server broke off", "")
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Read = %v, want io.ErrUnexpectedEOF", err)
		}
	})
}

// fetchOnce asks the sample for anything.
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
