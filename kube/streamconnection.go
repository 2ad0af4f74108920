package kube

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	constants "k8s.io/apimachinery/pkg/util/portforward"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/websocket"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// streamConnection is a connection of SPDY streams to a pod. The dialers of client-go make
// the same, but keep the connection below to themselves: without it a Write
// that is stuck could not be ended.
type streamConnection struct {
	httpstream.Connection
	frames *frameConn
	raw    net.Conn // to the API server
}

// pingPeriod keeps load balancers from taking the link for idle.
const pingPeriod = 10 * time.Second

// closePatience is how long an end may take to be told to the other side.
const closePatience = 250 * time.Millisecond

func newStreamConnection(below, raw net.Conn) (*streamConnection, error) {
	t := &frameConn{Conn: below}
	connection, err := spdy.NewClientConnectionWithPings(t, pingPeriod)
	if err != nil {
		return nil, err
	}
	return &streamConnection{connection, t, raw}, nil
}

// closeOrCut resets the streams and closes the connection below them, without a
// word where a Write is stuck.
func (l *streamConnection) closeOrCut() {
	defer time.AfterFunc(closePatience, l.cutOff).Stop()
	_ = l.Close()
	_ = l.frames.Close()
}

// cutOff ends the link at once.
func (l *streamConnection) cutOff() { _ = l.raw.Close() }

// dialStreams opens a link to what a URL of the API upgrades to.
func (c *Cluster) dialStreams(ctx context.Context, at *url.URL) (*streamConnection, error) {
	l, err := c.dialWebSocket(ctx, at)
	if lacksWebSocket(err) {
		return c.dialSPDY(ctx, at)
	}
	return l, err
}

// lacksWebSocket reports whether a server, or a proxy before it, would have no
// WebSocket.
func lacksWebSocket(err error) bool {
	return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
}

// dialWebSocket heeds no end of ctx but its deadline while it waits for an
// answer, as gorilla/websocket does not.
func (c *Cluster) dialWebSocket(ctx context.Context, at *url.URL) (*streamConnection, error) {
	transport, holder, err := websocket.RoundTripperFor(c.streams)
	if err != nil {
		return nil, err
	}

	// RFC 6455, 4.1: a WebSocket begins with a GET.
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}

	conn, err := websocket.Negotiate(transport, holder, request,
		constants.WebsocketsSPDYTunnelingPrefix+portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, err
	}

	return newStreamConnection(portforward.NewTunnelingConnectionWithLogger(logr.Discard(), conn), conn.NetConn())
}

func (c *Cluster) dialSPDY(ctx context.Context, at *url.URL) (*streamConnection, error) {
	tlsConfig, err := rest.TLSConfigFor(c.streams)
	if err != nil {
		return nil, err
	}

	dialer, err := spdy.NewRoundTripperWithConfig(spdy.RoundTripperConfig{TLS: tlsConfig, Proxier: c.streams.Proxy})
	if err != nil {
		return nil, err
	}

	upgraded := &spdyUpgrade{dial: dialer.Dial}
	transport, err := rest.HTTPWrappersForConfig(c.streams, upgraded)
	if err != nil {
		return nil, err
	}

	request, err := http.NewRequestWithContext(ctx, http.MethodPost, at.String(), nil)
	if err != nil {
		return nil, err
	}

	request.Header.Set(httpstream.HeaderProtocolVersion, portforward.PortForwardProtocolV1Name)
	response, err := transport.RoundTrip(request) //nolint:bodyclose // of the connection, which is closed
	if err != nil {
		return nil, err
	}

	if response.StatusCode != http.StatusSwitchingProtocols ||
		!strings.EqualFold(response.Header.Get(httpstream.HeaderUpgrade), spdy.HeaderSpdy31) {
		defer upgraded.conn.Close()
		return nil, readUpgradeFailure(response, spdy.HeaderSpdy31)
	}

	return newStreamConnection(upgraded.conn, upgraded.conn.Conn)
}

// readUpgradeFailure is what a server answered in place of an upgrade to a protocol.
func readUpgradeFailure(response *http.Response, protocol string) error {
	body, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	var status metav1.Status
	if json.Unmarshal(body, &status) == nil && status.Kind == "Status" {
		return &apierrors.StatusError{ErrStatus: status}
	}
	return fmt.Errorf("upgrade to %s: the server answered %s: %s", protocol, response.Status, body)
}

// spdyUpgrade is the http.RoundTripper that asks for SPDY. It keeps the connection
// that it asked on.
type spdyUpgrade struct {
	dial func(*http.Request) (net.Conn, error)
	conn *bufferedConn
}

func (u *spdyUpgrade) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Set(httpstream.HeaderConnection, httpstream.HeaderUpgrade)
	request.Header.Set(httpstream.HeaderUpgrade, spdy.HeaderSpdy31)
	conn, err := u.dial(request)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(request.Context(), func() { _ = conn.Close() })()

	u.conn = &bufferedConn{conn, bufio.NewReader(conn)}
	response, err := http.ReadResponse(u.conn.reader, request)
	if err != nil {
		_ = conn.Close()
	}

	return response, err
}

// bufferedConn is a connection of which a part is read already.
type bufferedConn struct {
	net.Conn
	reader *bufio.Reader
}

func (b *bufferedConn) Read(p []byte) (int, error) { return b.reader.Read(p) }

// frameConn is the connection below the streams. spdystream writes a frame in
// pieces of a few bytes, each of which would be a TLS record and a WebSocket
// message of its own: tunnel passes whole frames on. It writes for one
// goroutine at a time, as spdystream does.
type frameConn struct {
	net.Conn
	frame []byte
	once  sync.Once
}

// frameHeader is the length of a header of SPDY, of which the last three bytes
// are the length of what follows, in data and control frames alike (SPDY 3.1,
// 2.2).
const frameHeader = 8

func (t *frameConn) Write(p []byte) (int, error) {
	t.frame = append(t.frame, p...)
	if len(t.frame) < frameHeader {
		return len(p), nil
	}
	if rest := int(t.frame[5])<<16 | int(t.frame[6])<<8 | int(t.frame[7]); len(t.frame) < frameHeader+rest {
		return len(p), nil
	}

	_, err := t.Conn.Write(t.frame)
	t.frame = t.frame[:0]
	if err != nil {
		return 0, err
	}

	return len(p), nil
}

// Close succeeds every time: spdystream lingers after an error.
func (t *frameConn) Close() error {
	t.once.Do(func() { _ = t.Conn.Close() })
	return nil
}
