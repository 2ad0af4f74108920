package healthprobe

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"kdiag/mux/wire"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// request is what the kubelet sends for a probe without headers of its own.
const request = "GET /healthz?a=b HTTP/1.1\r\nHost: 10.0.0.2:8080\r\nUser-Agent: kube-probe/1.37\r\nAccept: */*\r\nConnection: close\r\n\r\n"

var (
	plain = wire.Probe{Kind: wire.ProbeHTTP, Target: "/healthz?a=b", Agent: "kube-probe/"}
	hook  = wire.Probe{Kind: wire.ProbeHTTP, Target: "/stop", Agent: "kube-lifecycle/"}
	own   = wire.Probe{Kind: wire.ProbeHTTP, Target: "/ready", Agent: "kube-probe/", Headers: map[string][]string{
		"user-agent": {"checker/2"}, "X-Key": {"one", "two"}, "Host": {"shop.example"},
	}}
	withoutAgent = wire.Probe{Kind: wire.ProbeHTTP, Target: "/", Headers: map[string][]string{"User-Agent": {""}, "Accept": {""}}}
	h2c          = wire.Probe{Kind: wire.ProbeH2C, Target: "/healthz", Agent: "kube-probe/"}
	grpc         = wire.Probe{Kind: wire.ProbeGRPC}
	overTLS      = wire.Probe{Kind: wire.ProbeTLS}
	tcp          = wire.Probe{Kind: wire.ProbeTCP}
)

func newRecognizer(t testing.TB, probes ...wire.Probe) *Recognizer {
	t.Helper()
	r, err := New(probes)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// get writes a request's header.
func get(target, agent string, more ...string) string {
	lines := append([]string{"GET " + target + " HTTP/1.1", "Host: 10.0.0.2:8080"}, more...)
	if agent != "" {
		lines = append(lines, "User-Agent: "+agent)
	}
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// TestHTTP tells probes over HTTP/1.1 from other requests by their content alone.
func TestHTTP(t *testing.T) {
	for _, c := range []struct {
		what  string
		probe wire.Probe
		sent  string
		want  Verdict
	}{
		{"the kubelet's", plain, request, Recognized},
		{"with a body behind it", plain, request + "more", Recognized},
		{"another target", plain, get("/", "kube-probe/1.37"), Other},
		{"another query", plain, get("/healthz", "kube-probe/1.37"), Other},
		{"another agent", plain, get("/healthz?a=b", "curl/8"), Other},
		{"no agent", plain, get("/healthz?a=b", ""), Other},
		{"another method", plain, strings.Replace(request, "GET", "POST", 1), Other},
		{"HEAD", plain, strings.Replace(request, "GET", "HEAD", 1), Other},
		{"no HTTP", plain, "GET \x00\r\n\r\n", Other},
		{"after a redirect of HTTP", plain, get("/elsewhere", "kube-probe/1.37", "Referer: http://10.0.0.2:8080/healthz?a=b"), Recognized},
		{"a hook's", hook, get("/stop", "kube-lifecycle/1.37"), Recognized},
		{"a hook's target by a probe", hook, get("/stop", "kube-probe/1.37"), Other},
		{"with a blank in its target", wire.Probe{Kind: wire.ProbeHTTP, Target: "/a?b=c d", Agent: "kube-probe/"}, get("/a?b=c d", "kube-probe/1.37"), Recognized},
		{"with a Host header twice", own, get("/ready", "checker/2", "X-Key: one", "X-Key: two", "Host: shop.example"), Other},
		{"with one header less", own, get("/ready", "checker/2", "X-Key: one"), Other},
		{"without an agent", withoutAgent, get("/", ""), Recognized},
		{"with an agent where none is", withoutAgent, get("/", "curl/8"), Other},
		{"a browser's Accept", withoutAgent, get("/", "", "Accept: text/html"), Other},
	} {
		if got := newRecognizer(t, c.probe).Judge(Arrival{Bytes: []byte(c.sent)}); got != c.want {
			t.Errorf("request %s: verdict %d, want %d", c.what, got, c.want)
		}
	}

	// The Host header is the first line's business in Go's client.
	sent := "GET /ready HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: checker/2\r\nX-Key: one\r\nX-Key: two\r\n\r\n"
	if got := newRecognizer(t, own).Judge(Arrival{Bytes: []byte(sent)}); got != Recognized {
		t.Errorf("request with headers of its own: verdict %d, want %d", got, Recognized)
	}
	moved := strings.Replace(sent, "GET /ready", "GET /now", 1)
	for referer, want := range map[string]Verdict{"http://shop.example/ready": Recognized, "http://shop.example/else": Other} {
		followed := strings.Replace(moved, "\r\n\r\n", "\r\nReferer: "+referer+"\r\n\r\n", 1)
		if got := newRecognizer(t, own).Judge(Arrival{Bytes: []byte(followed)}); got != want {
			t.Errorf("own agent, redirected from %s: verdict %d, want %d", referer, got, want)
		}
	}
}

// TestByteByByte comes to the same verdict however slowly a connection begins, and never changes
// it.
func TestByteByByte(t *testing.T) {
	probes := []wire.Probe{plain, own, h2c, grpc, overTLS, tcp}
	for _, sent := range []string{request, get("/", "curl/8"), "POST / HTTP/1.1\r\n\r\n", string(preface(t, "/healthz", "kube-probe/1")), string(recordHello(t, ""))} {
		r := newRecognizer(t, probes...)
		last := Undecided
		for n := range len(sent) + 1 {
			got := r.Judge(Arrival{Bytes: []byte(sent[:n]), FromNode: true})
			if last != Undecided && got != last {
				t.Fatalf("%.20q after %d bytes: verdict %d, and %d before", sent, n, got, last)
			}
			last = got
		}
		if last == Undecided {
			t.Errorf("%.20q is never decided", sent)
		}
	}
}

// TestCutOff decides at last by what has come: what may be a probe goes to the application.
func TestCutOff(t *testing.T) {
	for _, c := range []struct {
		what     string
		probe    wire.Probe
		sent     string
		ended    bool
		fromNode bool
		want     Verdict
	}{
		{"nothing", plain, "", false, true, Other},
		{"nothing, and its end", overTLS, "", true, true, Ambiguous},
		{"nothing, and its end, from elsewhere", overTLS, "", true, false, Other},
		{"half a request", plain, request[:30], false, false, Ambiguous},
		{"half of another", plain, "GET /other HTTP/1.1\r\n", false, true, Other},
		{"half a request of another agent", plain, strings.TrimSuffix(get("/healthz?a=b", "curl/8"), "\r\n"), false, true, Other},
		{"half a request of another's half name", plain, request[:strings.Index(request, "kube-probe")] + "cu", false, true, Ambiguous},
		{"a method", plain, "GET ", false, true, Other},
		{"half a request, ended", plain, request[:30], true, true, Other},
		{"half a hello", overTLS, string(recordHello(t, "")[:40]), false, true, Ambiguous},
		{"half a hello from elsewhere", overTLS, string(recordHello(t, "")[:40]), false, false, Other},
		{"settings of HTTP/2", grpc, http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00", false, true, Ambiguous},
		{"settings from elsewhere", grpc, http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00", false, false, Other},
		{"a connection that is silent", tcp, "", false, true, Other},
		{"a connection that is closed", tcp, "", true, false, Recognized},
		{"a byte", tcp, "x", true, true, Other},
	} {
		a := Arrival{Bytes: []byte(c.sent), Ended: c.ended, FromNode: c.fromNode, Final: true}
		if got := newRecognizer(t, c.probe).Judge(a); got != c.want {
			t.Errorf("%s: verdict %d, want %d", c.what, got, c.want)
		}
	}
}

// TestLongHeader decides about a header that is longer than what is looked at.
func TestLongHeader(t *testing.T) {
	cookie := "Cookie: " + strings.Repeat("x", 2*MaxBytes)
	for target, want := range map[string]Verdict{"/healthz?a=b": Ambiguous, "/": Other} {
		sent := []byte(get(target, "curl/8", cookie))[:MaxBytes]
		if got := newRecognizer(t, plain).Judge(Arrival{Bytes: sent}); got != want {
			t.Errorf("GET %s with a long header: verdict %d, want %d", target, got, want)
		}
	}
}

// preface is how a client of HTTP/2 begins.
func preface(t testing.TB, target, agent string) []byte {
	t.Helper()
	var out, header bytes.Buffer
	out.WriteString(http2.ClientPreface)
	framer := http2.NewFramer(&out, nil)
	encoder := hpack.NewEncoder(&header)
	for _, field := range [][2]string{
		{":method", "GET"}, {":scheme", "http"}, {":path", target}, {":authority", "10.0.0.2:8080"}, {"user-agent", agent},
	} {
		_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	_ = framer.WriteSettings()
	_ = framer.WriteWindowUpdate(0, 1<<20)
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: header.Bytes()[:5]})
	_ = framer.WriteContinuation(1, true, header.Bytes()[5:])
	return out.Bytes()
}

// TestHTTP2 reads the first request of HTTP/2.
func TestHTTP2(t *testing.T) {
	for _, c := range []struct {
		what          string
		probe         wire.Probe
		target, agent string
		want          Verdict
	}{
		{"h2c probe", h2c, "/healthz", "kube-probe/1.37", Recognized},
		{"another target", h2c, "/", "kube-probe/1.37", Other},
		{"another agent", h2c, "/healthz", "curl/8", Other},
		{"gRPC probe that asks at once", grpc, "/grpc.health.v1.Health/Check", "kube-probe/1.37 grpc-go/1.80", Recognized},
		{"somebody's health check", grpc, "/grpc.health.v1.Health/Check", "grpc-go/1.80", Other},
		{"another call", grpc, "/shop.Cart/Get", "kube-probe/1.37", Other},
	} {
		for _, fromNode := range []bool{true, false} {
			a := Arrival{Bytes: preface(t, c.target, c.agent), FromNode: fromNode}
			if got := newRecognizer(t, c.probe).Judge(a); got != c.want {
				t.Errorf("%s, from the node %t: verdict %d, want %d", c.what, fromNode, got, c.want)
			}
		}
	}
}

// recordHello returns what a client of TLS sends first.
func recordHello(t testing.TB, server string) []byte {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	client := tls.Client(there, &tls.Config{InsecureSkipVerify: true, ServerName: server})
	go func() { _ = client.HandshakeContext(context.Background()) }()

	_ = here.SetReadDeadline(time.Now().Add(10 * time.Second))
	head := make([]byte, 5)
	if _, err := io.ReadFull(here, head); err != nil {
		t.Fatal(err)
	}
	rest := make([]byte, int(head[3])<<8+int(head[4]))
	if _, err := io.ReadFull(here, rest); err != nil {
		t.Fatal(err)
	}
	return append(head, rest...)
}

// TestTLS tells connections by the server's name and by the source.
func TestTLS(t *testing.T) {
	for _, c := range []struct {
		server   string
		fromNode bool
		want     Verdict
	}{{"", true, Ambiguous}, {"", false, Other}, {"shop.example", true, Other}, {"10.0.0.2", true, Ambiguous}} {
		a := Arrival{Bytes: recordHello(t, c.server), FromNode: c.fromNode}
		if got := newRecognizer(t, overTLS).Judge(a); got != c.want {
			t.Errorf("server %q, from the node %t: verdict %d, want %d", c.server, c.fromNode, got, c.want)
		}
	}
}

// TestGoClient recognizes what Go's client makes of a probe's headers, as the kubelet's is one.
func TestGoClient(t *testing.T) {
	probe := wire.Probe{Kind: wire.ProbeHTTP, Target: "/a%20b?x=1", Agent: "kube-probe/", Headers: map[string][]string{
		"x-lines": {" two\nlines "}, "Accept": {""}, "Connection": {"keep-alive"}, "Host": {"h.example"}, "Content-Length": {"7"},
	}}
	made, err := http.NewRequest(http.MethodGet, "http://10.0.0.2:8080/a%20b?x=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range probe.Headers {
		for _, value := range values {
			made.Header.Add(name, value)
		}
	}
	made.Header.Del("Accept")
	made.Header.Set("User-Agent", "kube-probe/1.37")
	made.Host, made.Close = "h.example", true

	var sent bytes.Buffer
	if err := made.Write(bufio.NewWriter(&sent)); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewWriter(&sent)
	if err := made.Write(out); err != nil || out.Flush() != nil {
		t.Fatal(err)
	}
	if got := newRecognizer(t, probe).Judge(Arrival{Bytes: sent.Bytes()}); got != Recognized {
		t.Errorf("verdict %d for %q, want %d", got, sent.Bytes(), Recognized)
	}
}

// TestNewRefuses knows no other kinds, and bounds how many there are.
func TestNewRefuses(t *testing.T) {
	if _, err := New([]wire.Probe{{Kind: "quic"}}); err == nil || !strings.Contains(err.Error(), "quic") {
		t.Errorf("kind quic = %v, want that it is unknown", err)
	}
	if _, err := New(make([]wire.Probe, maxProbes+1)); err == nil {
		t.Error("too many probes are taken")
	}
	if r, err := New(nil); r != nil || err != nil {
		t.Errorf("no probes = %v, %v, want nothing", r, err)
	}
}

// FuzzJudge never panics, and always decides at last.
func FuzzJudge(f *testing.F) {
	f.Add([]byte(request), true)
	f.Add(preface(f, "/healthz", "kube-probe/1"), true)
	f.Add(recordHello(f, ""), true)
	f.Fuzz(func(t *testing.T, sent []byte, fromNode bool) {
		r := newRecognizer(t, plain, own, h2c, grpc, overTLS, tcp)
		sent = sent[:min(len(sent), MaxBytes)]
		for _, ended := range []bool{false, true} {
			r.Judge(Arrival{Bytes: sent, Ended: ended, FromNode: fromNode})
			if got := r.Judge(Arrival{Bytes: sent, Ended: ended, FromNode: fromNode, Final: true}); got == Undecided {
				t.Errorf("%q is undecided in the end", sent)
			}
		}
	})
}
