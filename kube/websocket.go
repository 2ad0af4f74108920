package kube

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"

	gorilla "github.com/gorilla/websocket"
	"k8s.io/client-go/transport/websocket"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// wrapWebSockets lets client-go's round trippers for WebSockets use the prepared connection, if
// there is one. They have no option for that, but a field for the WebSocket itself. c.streams
// wraps it around every round tripper.
func (c *Cluster) wrapWebSockets(inner http.RoundTripper) http.RoundTripper {
	if upgrader, ok := inner.(*websocket.RoundTripper); ok {
		return &preparedWebSocket{upgrader, &c.prepared}
	}
	return inner
}

// preparedWebSocket does the work of a websocket.RoundTripper on the prepared connection.
type preparedWebSocket struct {
	*websocket.RoundTripper
	prepared *preparedConnection
}

func (w *preparedWebSocket) RoundTrip(request *http.Request) (*http.Response, error) {
	dialer := gorilla.Dialer{
		Proxy: w.Proxier, TLSClientConfig: w.TLSConfig,
		Subprotocols: request.Header[wsstream.WebSocketProtocolHeader],
		// Each message has one more byte, which names its channel.
		ReadBufferSize: w.DataBufferSize() + 1<<10, WriteBufferSize: w.DataBufferSize() + 1<<10,
		NetDialContext: dialPatiently,
	}

	headers := request.Header.Clone()
	delete(headers, wsstream.WebSocketProtocolHeader)

	at := *request.URL
	switch at.Scheme {
	case "https":
		at.Scheme = "wss"
	case "http":
		at.Scheme = "ws"
	}

	if conn := w.prepared.takeConnection(request.Context()); conn != nil {
		dialer.NetDialTLSContext = func(context.Context, string, string) (net.Conn, error) { return &patientConn{Conn: conn}, nil }
	}

	conn, response, err := dialer.DialContext(request.Context(), at.String(), headers)
	if errors.Is(err, gorilla.ErrBadHandshake) && response != nil {
		defer response.Body.Close()
		return nil, &httpstream.UpgradeFailureError{Cause: readUpgradeFailure(response, "a WebSocket")}
	}

	if err != nil {
		return nil, err
	}

	if !slices.Contains(dialer.Subprotocols, conn.Subprotocol()) {
		_ = conn.Close()
		return nil, &httpstream.UpgradeFailureError{Cause: fmt.Errorf(
			"the server chose protocol %q, not one of %q", conn.Subprotocol(), dialer.Subprotocols)}
	}

	w.Conn = conn
	return response, nil
}

// dialPatiently dials as gorilla/websocket would.
func dialPatiently(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &patientConn{Conn: conn}, nil
}
