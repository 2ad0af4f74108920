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

// streamConnection carries SPDY streams to a pod. client-go's dialers make the same but hide
// the connection below, without which a Write that is stuck could not be ended.
type streamConnection struct {
	httpstream.Connection
	frames *frameConn
	raw    net.Conn // to the API server
}

// pingPeriod keeps load balancers from closing the connection as idle.
const pingPeriod = 10 * time.Second

// closePatience limits how long closeOrCut tries to tell the other side.
const closePatience = 250 * time.Millisecond

// newStreamConnection begins SPDY on a connection. below is what SPDY runs on, raw the TCP or
// TLS connection under it.
func newStreamConnection(below, raw net.Conn) (*streamConnection, error) {
	t := &frameConn{Conn: below}
	connection, err := spdy.NewClientConnectionWithPings(t, pingPeriod)
	if err != nil {
		return nil, err
	}
	return &streamConnection{connection, t, raw}, nil
}

// closeOrCut resets the streams and closes the connection. If that is stuck behind a Write it
// cuts the connection off.
func (s *streamConnection) closeOrCut() {
	defer time.AfterFunc(closePatience, s.cutOff).Stop()
	_ = s.Close()
	_ = s.frames.Close()
}

// cutOff closes the connection at once, without telling the other side.
func (s *streamConnection) cutOff() { _ = s.raw.Close() }

// dialStreams connects to a URL of the API that upgrades to streams: over a WebSocket, or
// over plain SPDY if the server, or a proxy before it, does not support WebSockets.
func (c *Cluster) dialStreams(ctx context.Context, at *url.URL) (*streamConnection, error) {
	s, err := c.dialWebSocket(ctx, at)
	if lacksWebSocket(err) {
		return c.dialSPDY(ctx, at)
	}
	return s, err
}

// lacksWebSocket reports whether an error means that the server, or a proxy before it, does
// not support WebSockets.
func lacksWebSocket(err error) bool {
	return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
}

// dialWebSocket connects over a WebSocket. While it waits for the answer it obeys ctx's
// deadline but not its cancellation, because gorilla/websocket does not.
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

// dialSPDY connects over SPDY, without a WebSocket.
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

	response, err := transport.RoundTrip(request) //nolint:bodyclose // the connection itself is closed
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

// readUpgradeFailure turns the answer of a server that did not upgrade to a protocol into an
// error: a status if it is one of the API.
func readUpgradeFailure(response *http.Response, protocol string) error {
	body, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	var status metav1.Status
	if json.Unmarshal(body, &status) == nil && status.Kind == "Status" {
		return &apierrors.StatusError{ErrStatus: status}
	}

	return fmt.Errorf("upgrade to %s: the server answered %s: %s", protocol, response.Status, body)
}

// spdyUpgrade is an http.RoundTripper that asks for an upgrade to SPDY, and keeps the
// connection on which it asked.
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

// bufferedConn reads first what was read from its connection into a buffer.
type bufferedConn struct {
	net.Conn
	reader *bufio.Reader
}

func (b *bufferedConn) Read(p []byte) (int, error) { return b.reader.Read(p) }

// frameConn writes whole frames of SPDY to a connection. spdystream writes a frame in pieces of
// a few bytes, each of which would become a TLS record and a WebSocket message of its own. Only
// one goroutine at a time may write, as spdystream does.
type frameConn struct {
	net.Conn
	frame []byte
	once  sync.Once
}

// frameHeader is the length of a SPDY frame's header in bytes. Its last three bytes give the
// length of what follows, in data and control frames alike (SPDY 3.1, 2.2).
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

// Close always returns nil: after an error spdystream would not end.
func (t *frameConn) Close() error {
	t.once.Do(func() { _ = t.Conn.Close() })
	return nil
}
