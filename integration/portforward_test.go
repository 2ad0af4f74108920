package integration

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"kdiag/kube"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
)

// openTimeout is long enough for a busy machine.
const openTimeout = 30 * time.Second

// echoes is a pod that serves HTTP at 8080 and echoes at 7777.
const echoes = `
apiVersion: v1
kind: Pod
metadata: {name: echo}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: app, image: "localhost/kdiag-sample:full", imagePullPolicy: Never}
  - {name: echo, image: "localhost/kdiag-sample:full", imagePullPolicy: Never, command: [/bin/busybox, nc, -lk, -p, "7777", -e, /bin/cat]}
`

// connect is kube.Connect as an administrator, but for what change says.
func connect(t *testing.T, namespace string, change func(*kube.Options)) *kube.Cluster {
	t.Helper()
	options := kube.Options{Kubeconfig: shared.kubeconfig, Namespace: namespace}
	if change != nil {
		change(&options)
	}
	c, err := kube.Connect(options, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// findPod is a pod as it is now.
func findPod(t *testing.T, c *kube.Cluster, name string) *corev1.Pod {
	t.Helper()
	pod, err := c.FindPod(t.Context(), kube.Selection{Kind: "pods", Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

// checkError wants words in an error and in its hint.
func checkError(t *testing.T, what string, err error, words, hint string) {
	t.Helper()
	var failed *kube.Error
	if !errors.As(err, &failed) || !strings.Contains(failed.Error(), words) || !strings.Contains(failed.Hint(), hint) {
		t.Errorf("%s: %v (hint %v)\nwant %q and a hint with %q", what, err, failed, words, hint)
	}
}

// TestPortForward sends bytes both ways over WebSocket and over SPDY.
func TestPortForward(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, echoes)
	waitForPods(t, namespace)
	old, refused, spdy := noWebSocket(t)
	word := token(t, namespace)
	for name, c := range map[string]*kube.Cluster{
		"WebSocket": connect(t, namespace, nil),
		"SPDY": connect(t, namespace, func(o *kube.Options) {
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

			t.Run("HTTP", func(t *testing.T) { fetch(t, open(t, 8080)) })
			t.Run("8 MiB", func(t *testing.T) { echo(t, open(t, 7777)) })
			t.Run("nobody listens", func(t *testing.T) {
				conn := open(t, 7999)
				_, err := conn.Read(make([]byte, 1))
				checkError(t, "Read", err, "forward to port 7999 of pod "+namespace+"/echo: ", "listen on 127.0.0.1:7999")
				checkError(t, "Read", err, "connection refused", "")
				_, err = conn.Write([]byte("x"))
				checkError(t, "Write after it", err, "connection refused", "")
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

			t.Run("close", func(t *testing.T) { closing(t, func() net.Conn { return open(t, 7777) }) })
			t.Run("write deadline", func(t *testing.T) {
				conn := open(t, 7777)
				_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
				started := time.Now()
				// Nobody reads the echo, so that it backs up.
				if err := flood(conn); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(started) > 5*time.Second {
					t.Errorf("Write with a deadline: %v after %s", err, time.Since(started))
				}
			})
		})
	}

	if refused.Load() == 0 || spdy.Load() == 0 {
		t.Errorf("%d WebSockets refused, %d over SPDY, want some of each", refused.Load(), spdy.Load())
	}
}

func fetch(t *testing.T, conn net.Conn) {
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

func echo(t *testing.T, conn net.Conn) {
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

// flood writes until it fails.
func flood(conn net.Conn) error {
	for block := make([]byte, 1<<20); ; {
		if _, err := conn.Write(block); err != nil {
			return err
		}
	}
}

// closing holds that Close ends what is under way, and leaves nothing.
func closing(t *testing.T, open func() net.Conn) {
	before := goleak.IgnoreCurrent()
	conn := open()
	reads, writes := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		reads <- err
	}()

	time.Sleep(100 * time.Millisecond)
	closeWithin(t, conn)
	if err := <-reads; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read when closed: %v", err)
	}
	if _, err := conn.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after Close: %v", err)
	}

	conn = open()
	go func() { writes <- flood(conn) }()
	time.Sleep(2 * time.Second) // until it backs up
	closeWithin(t, conn)
	if err := <-writes; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write when closed: %v", err)
	}
	if err := goleak.Find(before); err != nil {
		t.Errorf("after Close: %v", err)
	}
}

func closeWithin(t *testing.T, conn net.Conn) {
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
	namespace := pods(t)
	cut, through := newProxy(t)
	for name, c := range map[string]struct {
		change      func(*kube.Options)
		verb        string // that the user has
		pod         string
		words, hint string
	}{
		"no such pod":   {nil, "", "nothere", `pods "nothere" not found`, ""},
		"no server":     {func(o *kube.Options) { o.Server = "https://127.0.0.1:1" }, "", "distroless", "connection refused", "is the cluster up"},
		"deaf server":   {func(o *kube.Options) { o.Server = "https://127.0.0.1:" + deaf(t, "127.0.0.1:0") }, "", "distroless", "no answer within 2s", ""},
		"no right":      {nil, "none", "distroless", "no right to create pods/portforward in namespace", `verb "create" on pods/portforward`},
		"only to get":   {nil, "get", "distroless", "no right to create pods/portforward in namespace", `verb "create" on pods/portforward`},
		"create is all": {nil, "create", "distroless", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := connect(t, namespace, func(o *kube.Options) {
				if c.change != nil {
					c.change(o)
				}
				if c.verb != "" {
					o.As = strings.ReplaceAll(namespace, "test", "forward-"+c.verb)
				}
			})
			if c.verb == "get" || c.verb == "create" {
				user := strings.ReplaceAll(namespace, "test", "forward-"+c.verb)
				kubectl(t, "create", "role", "-n", namespace, user, "--verb="+c.verb, "--resource=pods/portforward")
				kubectl(t, "create", "rolebinding", "-n", namespace, user, "--role="+user, "--user="+user)
			}

			started := time.Now()
			conn, err := cluster.PortForward(t.Context(), namespace, c.pod, 8080, 2*time.Second)
			if took := time.Since(started); took > 4*time.Second {
				t.Errorf("PortForward took %s", took)
			}

			if c.words != "" {
				checkError(t, "PortForward", err, c.words, c.hint)
				return
			}

			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()

			fetchAny(t, conn)
		})
	}

	t.Run("the API server gone", func(t *testing.T) {
		conn, err := connect(t, namespace, func(o *kube.Options) {
			o.Server = strings.TrimPrefix(through[0], "--server=")
			o.TLSServerName = strings.TrimPrefix(through[1], "--tls-server-name=")
		}).PortForward(t.Context(), namespace, "distroless", 8080, openTimeout)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()

		fetchAny(t, conn)
		cut.cut()
		_, err = conn.Read(make([]byte, 1))
		checkError(t, "Read", err, "the connection to the API server broke off", "")
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Read = %v, want io.ErrUnexpectedEOF", err)
		}
	})
}

// fetchAny asks the sample for anything.
func fetchAny(t *testing.T, conn net.Conn) {
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

// testerKey is a public key, as a net manager wants one of its user: the base
// point of ed25519, whose private half is of no use to the tests.
const testerKey = "WGZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmY"

// netRequest is a request for a net container.
func netRequest(pod *corev1.Pod) kube.NetRequest {
	return kube.NetRequest{
		Pod: pod, Image: shared.image, PullPolicy: corev1.PullIfNotPresent,
		Manager: kube.Manager{User: testerKey, Version: "v0", IdleTimeout: time.Minute},
	}
}

// TestEnsureNet adds a container with NET_ADMIN alone, once.
func TestEnsureNet(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, manifest(t, "rootpod.yaml"))
	waitForPods(t, namespace)
	c := connect(t, namespace, nil)
	ctx, cancel := kube.WithTimeout(t.Context(), kube.DefaultTimeout)
	defer cancel()
	made, err := c.EnsureNet(ctx, netRequest(findPod(t, c, "root")))
	if err != nil || !made.Created || !strings.HasPrefix(made.Name, "kdiag-net-") {
		t.Fatalf("EnsureNet = %+v, %v, want a new kdiag-net-…", made, err)
	}

	line, err := c.ManagerLine(ctx, namespace, "root", made.Name)
	var started struct{ Role string }
	if err != nil || json.Unmarshal(line, &started) != nil || started.Role != "net" {
		t.Errorf("ManagerLine = %q, %v, want the role net", line, err)
	}

	again, err := c.EnsureNet(ctx, netRequest(findPod(t, c, "root")))
	if err != nil || again.Created || again.Name != made.Name {
		t.Errorf("EnsureNet once more = %+v, %v, want %s", again, err, made.Name)
	}

	var got []corev1.EphemeralContainer
	text := kubectl(t, "get", "pod", "-n", namespace, "root", "-o", "jsonpath={.spec.ephemeralContainers}")
	if err = json.Unmarshal([]byte(text), &got); err != nil || len(got) != 1 || got[0].TargetContainerName != "" {
		t.Fatalf("ephemeral containers: %s, %v, want one without a target", text, err)
	}

	confined, err := json.Marshal(got[0].SecurityContext)
	if want := `{"capabilities":{"add":["NET_ADMIN"],"drop":["ALL"]},"runAsUser":0,"runAsGroup":0,"runAsNonRoot":false,` +
		`"readOnlyRootFilesystem":true,"allowPrivilegeEscalation":false,"seccompProfile":{"type":"RuntimeDefault"}}`; err != nil || string(confined) != want {
		t.Errorf("securityContext = %s, want %s", confined, want)
	}
}

// TestEnsureNetRefused asks for nothing that would be the node's, and says what
// a refusal is about.
func TestEnsureNetRefused(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, `{apiVersion: v1, kind: Pod, metadata: {name: host}, spec: {hostNetwork: true, terminationGracePeriodSeconds: 1,
		containers: [{name: app, image: "localhost/kdiag-sample:scratch", imagePullPolicy: Never, args: ["127.0.0.1:0"]}]}}`)
	waitForPods(t, namespace)
	c := connect(t, namespace, nil)
	_, err := c.EnsureNet(t.Context(), netRequest(findPod(t, c, "host")))
	checkError(t, "hostNetwork", err, "its rules would be the node's", "a network of its own")
	if got := kubectl(t, "get", "pod", "-n", namespace, "host", "-o", "jsonpath={.spec.ephemeralContainers}"); got != "" {
		t.Errorf("ephemeral containers: %s, want none", got)
	}

	for _, level := range []string{"baseline", "restricted"} {
		namespace := newNamespace(t, "pod-security.kubernetes.io/enforce="+level)
		if level == "baseline" {
			apply(t, namespace, manifest(t, "rootpod.yaml"))
		} else {
			apply(t, namespace, manifest(t, "restricted.yaml"))
		}

		c := connect(t, namespace, nil)
		pod := map[string]string{"baseline": "root", "restricted": "nonroot"}[level]
		waitForPods(t, namespace)
		_, err := c.EnsureNet(t.Context(), netRequest(findPod(t, c, pod)))
		checkError(t, level, err, `violates PodSecurity "`+level+`:latest"`, "NET_ADMIN")
	}
}

// TestManagerLine reads what a manager says, or that it says nothing.
func TestManagerLine(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, manifest(t, "rootpod.yaml"))
	waitForPods(t, namespace)
	c := connect(t, namespace, nil)
	ctx, cancel := kube.WithTimeout(t.Context(), kube.DefaultTimeout)
	defer cancel()
	target, err := kube.PickContainer(findPod(t, c, "root"), "")
	if err != nil {
		t.Fatal(err)
	}

	request := kube.ShellRequest{
		Target: target, Image: shared.image, PullPolicy: corev1.PullIfNotPresent,
		Manager: kube.Manager{Role: "shell", Target: "app", User: "tester", Profile: kube.ProfileBaseline, Version: "v0", IdleTimeout: time.Minute},
	}
	made, err := c.EnsureShell(ctx, request)
	if err != nil {
		t.Fatal(err)
	}

	started := time.Now()
	line, err := c.ManagerLine(ctx, namespace, "root", made.Name)
	t.Logf("ManagerLine after %s", time.Since(started))
	var said struct{ Role string }
	if err != nil || json.Unmarshal(line, &said) != nil || said.Role != "shell" {
		t.Errorf("ManagerLine = %q, %v, want the role shell", line, err)
	}

	user := strings.ReplaceAll(namespace, "test", "nologs")
	_, err = connect(t, namespace, func(o *kube.Options) { o.As = user }).ManagerLine(ctx, namespace, "root", made.Name)
	checkError(t, "no pods/log", err, "no right to get pods/log in namespace", `verb "get" on pods/log`)
	_, err = c.ManagerLine(ctx, namespace, "root", "nothere")
	checkError(t, "no such container", err, "nothere", "")

	// It may start and end before anybody looks.
	request.Manager.Role = "nonsense"
	ended, _ := c.EnsureShell(ctx, request)
	if ended.Name == "" {
		ended.Name = kubectl(t, "get", "pod", "-n", namespace, "root", "-o", "jsonpath={.spec.ephemeralContainers[1].name}")
	}

	_, err = c.ManagerLine(ctx, namespace, "root", ended.Name)
	checkError(t, "a manager that ends", err, "the container ended before it was ready: ", "kubectl logs")
	checkError(t, "a manager that ends", err, "the roles are", "")

	// The application says no such line.
	short, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	_, err = c.ManagerLine(short, namespace, "root", "app")
	checkError(t, "a container that says something else", err, "deadline exceeded", "")
}
