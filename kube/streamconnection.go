package kube

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1" // RFC 6455 wants it, and no secret depends on it
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	mobyspdy "github.com/moby/spdystream/spdy"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	constants "k8s.io/apimachinery/pkg/util/portforward"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// streamConnection carries the frames of SPDY to and from a pod: in the messages of a WebSocket,
// or as they are.
type streamConnection struct {
	net.Conn // to the API server
	frames   spdyReader

	// writing is a lock: full while a message is being written.
	writing   chan struct{}
	webSocket *webSocketWriter // nil for none
	written   []byte           // the last message, for its memory

	// answers holds control frames that sendControlFrames will write. Whoever reads must not
	// wait until it can write: the server may be waiting for it to read.
	answers   chan controlFrame
	closed    chan struct{}
	closeOnce sync.Once
}

// controlFrame is a frame of SPDY, or of the WebSocket if the opcode is another than wsBinary.
type controlFrame struct {
	opcode byte
	frame  []byte
}

// pingPeriod keeps load balancers from closing the connection as idle.
const pingPeriod = 10 * time.Second

// closePatience limits how long closeOrCut tries to tell the other side.
const closePatience = 250 * time.Millisecond

// maxAnswers limits how many answers wait to be written. Those beyond it are never sent: the
// server asks much, and does not read.
const maxAnswers = 16

// newStreamConnection begins SPDY on an upgraded connection.
func newStreamConnection(conn *bufferedConn, isWebSocket bool) *streamConnection {
	s := &streamConnection{
		Conn: conn.Conn, writing: make(chan struct{}, 1),
		answers: make(chan controlFrame, maxAnswers), closed: make(chan struct{}),
	}
	s.frames.in = conn.reader
	if isWebSocket {
		s.frames.in = &webSocketReader{in: conn.reader, answer: s.answer}
		s.webSocket = &webSocketWriter{}
	}

	go s.sendControlFrames()
	return s
}

// answer sends a control frame without waiting, unless too many are being sent.
func (s *streamConnection) answer(opcode byte, frame []byte) {
	select {
	case s.answers <- controlFrame{opcode, frame}:
	default:
	}
}

// sendControlFrames writes answers and pings until the connection is closed.
func (s *streamConnection) sendControlFrames() {
	pings := time.NewTicker(pingPeriod)
	defer pings.Stop()

	id := uint32(1) // a client's are odd
	for {
		next := controlFrame{opcode: wsBinary}
		select {
		case <-s.closed:
			return
		case next = <-s.answers:
		case <-pings.C:
			next.frame = newControlFrame(mobyspdy.TypePing, id)
			id += 2
		}

		// The one who reads learns of it if the connection is lost.
		_ = s.writeMessage(next.opcode, next.frame, nil)
	}
}

// writeMessage writes frames, which come in two parts, in a single message of a WebSocket.
func (s *streamConnection) writeMessage(opcode byte, first, second []byte) error {
	s.writing <- struct{}{}
	defer func() { <-s.writing }()

	s.written = s.written[:0]
	if s.webSocket != nil {
		s.written = s.webSocket.appendMessage(s.written, opcode, first, second)
	} else {
		s.written = append(append(s.written, first...), second...)
	}

	_, err := s.Write(s.written)
	return err
}

// closeOrCut sends last frames and closes the connection. If that is stuck behind a Write it
// cuts the connection off.
func (s *streamConnection) closeOrCut(last ...[]byte) {
	s.closeOnce.Do(func() {
		close(s.closed)
		defer time.AfterFunc(closePatience, s.cutOff).Stop()

		last = append(last, newControlFrame(mobyspdy.TypeGoAway, 0, 0))
		_ = s.writeMessage(wsBinary, bytes.Join(last, nil), nil)
		if s.webSocket != nil {
			_ = s.writeMessage(wsClose, normalClosure, nil)
		}
		_ = s.Close()
	})
}

// normalClosure is what a WebSocket's last frame says (RFC 6455, 7.4.1: 1000).
var normalClosure = []byte{1000 >> 8, 1000 & 0xff}

// cutOff closes the connection at once, without telling the other side.
func (s *streamConnection) cutOff() {
	if over, ok := s.Conn.(*tls.Conn); ok {
		_ = over.NetConn().Close()
	}
	_ = s.Close()
}

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

// dialWebSocket connects over a WebSocket.
func (c *Cluster) dialWebSocket(ctx context.Context, at *url.URL) (*streamConnection, error) {
	const protocol = constants.WebsocketsSPDYTunnelingPrefix + portforward.PortForwardProtocolV1Name
	key := newWebSocketKey()

	// RFC 6455, 4.1: a WebSocket begins with a GET. Its headers are written as they are there,
	// for servers that mind.
	conn, response, err := c.upgrade(ctx, http.MethodGet, at, http.Header{ //nolint:bodyclose // the connection itself is closed
		httpstream.HeaderUpgrade: {"websocket"},
		"Sec-WebSocket-Version":  {"13"},
		"Sec-WebSocket-Key":      {key},
		"Sec-WebSocket-Protocol": {protocol},
	})
	if err != nil {
		return nil, err
	}

	if err = verifyWebSocket(response, key, protocol); err != nil {
		_ = conn.Close()
		return nil, &httpstream.UpgradeFailureError{Cause: err}
	}
	return newStreamConnection(conn, true), nil
}

// newWebSocketKey returns a key for the request that asks for a WebSocket.
func newWebSocketKey() string {
	var key [16]byte
	_, _ = rand.Read(key[:]) // it never fails
	return base64.StdEncoding.EncodeToString(key[:])
}

// verifyWebSocket returns an error unless a server has agreed to a WebSocket with a protocol
// (RFC 6455, 4.1).
func verifyWebSocket(response *http.Response, key, protocol string) error {
	// The server proves that it knows WebSockets by this GUID of the RFC.
	proof := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	chosen := response.Header.Get("Sec-Websocket-Protocol")
	switch {
	case response.StatusCode != http.StatusSwitchingProtocols,
		!strings.EqualFold(response.Header.Get(httpstream.HeaderUpgrade), "websocket"),
		response.Header.Get("Sec-Websocket-Accept") != base64.StdEncoding.EncodeToString(proof[:]):
		return readUpgradeFailure(response, "a WebSocket")
	case chosen != protocol:
		return fmt.Errorf("the server chose protocol %q, not %q", chosen, protocol)
	}
	return nil
}

// dialSPDY connects over SPDY, without a WebSocket.
func (c *Cluster) dialSPDY(ctx context.Context, at *url.URL) (*streamConnection, error) {
	conn, response, err := c.upgrade(ctx, http.MethodPost, at, http.Header{ //nolint:bodyclose // the connection itself is closed
		httpstream.HeaderUpgrade:         {spdy.HeaderSpdy31},
		httpstream.HeaderProtocolVersion: {portforward.PortForwardProtocolV1Name},
	})
	if err != nil {
		return nil, err
	}

	if response.StatusCode != http.StatusSwitchingProtocols ||
		!strings.EqualFold(response.Header.Get(httpstream.HeaderUpgrade), spdy.HeaderSpdy31) {
		defer conn.Close()
		return nil, readUpgradeFailure(response, spdy.HeaderSpdy31)
	}
	return newStreamConnection(conn, false), nil
}

// upgrade sends a request, with these headers, that asks for another protocol. It returns the
// answer and the connection that it came on, which the caller closes.
func (c *Cluster) upgrade(ctx context.Context, method string, at *url.URL, headers http.Header) (*bufferedConn, *http.Response, error) {
	tlsConfig, err := c.streamTLS()
	if err != nil {
		return nil, nil, err
	}

	dialer, err := spdy.NewRoundTripperWithConfig(spdy.RoundTripperConfig{TLS: tlsConfig, Proxier: c.streams.Proxy})
	if err != nil {
		return nil, nil, err
	}

	upgrader := &protocolUpgrader{headers: headers, dial: dialer.Dial, prepared: &c.prepared}
	transport, err := rest.HTTPWrappersForConfig(c.streams, upgrader)
	if err != nil {
		return nil, nil, err
	}

	if c.streams.ExecProvider != nil {
		transport = gatedTransport{transport, c.streams.ExecProvider, c.gate}
	}

	request, err := http.NewRequestWithContext(ctx, method, at.String(), nil)
	if err != nil {
		return nil, nil, err
	}

	response, err := transport.RoundTrip(request) //nolint:bodyclose // the connection itself is closed
	if err != nil {
		return nil, nil, err
	}
	return upgrader.conn, response, nil
}

// streamTLS returns the configuration of TLS for connections that carry streams. It is nil for
// none.
func (c *Cluster) streamTLS() (*tls.Config, error) {
	config, err := rest.TLSConfigFor(c.streams)
	if err != nil || config == nil {
		return nil, err
	}

	// Otherwise the first 128 KiB after each second's pause would be in records of 1 KiB.
	config = config.Clone()
	config.DynamicRecordSizingDisabled = true
	return config, nil
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

// protocolUpgrader is an http.RoundTripper that asks for another protocol, and keeps the
// connection on which it asked.
type protocolUpgrader struct {
	headers  http.Header
	dial     func(*http.Request) (net.Conn, error) // and send the request
	prepared *preparedConnection
	conn     *bufferedConn
}

func (u *protocolUpgrader) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Set(httpstream.HeaderConnection, httpstream.HeaderUpgrade)
	maps.Copy(request.Header, u.headers)

	conn, err := u.send(request)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(request.Context(), func() { _ = conn.Close() })()

	u.conn = &bufferedConn{conn, bufio.NewReaderSize(conn, upgradedBuffer)}
	response, err := http.ReadResponse(u.conn.reader, request)
	if err != nil {
		_ = conn.Close()
	}
	return response, err
}

// send sends a request on the prepared connection, or else on a new one.
func (u *protocolUpgrader) send(request *http.Request) (net.Conn, error) {
	conn := u.prepared.takeConnection(request.Context())
	if conn == nil {
		return u.dial(request)
	}

	if err := request.Write(conn); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// bufferedConn keeps what was read from its connection beyond what was wanted.
type bufferedConn struct {
	net.Conn
	reader *bufio.Reader
}

func (c *bufferedConn) Read(p []byte) (int, error) { return c.reader.Read(p) }

// upgradedBuffer is the size of a bufferedConn's buffer. What a Read asks for beyond it is not
// copied through the buffer.
const upgradedBuffer = 4 << 10
