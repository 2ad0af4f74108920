package kube

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/streaming/pkg/httpstream"
)

// Names of StreamRoute's protocols.
const (
	StreamsWebSocket = "WebSocket"
	StreamsSPDY      = "SPDY"
)

// StreamRoute says how streams reach a pod.
type StreamRoute struct {
	// Protocol is StreamsWebSocket, or StreamsSPDY if no WebSocket was to be had.
	Protocol string
	// MissingRight is set if that is so because the user lacks this right: "get pods/portforward".
	// Otherwise the server, or a proxy before it, does not support WebSockets.
	MissingRight string
}

// ProbeStreams finds out how streams reach a running pod. It opens a port-forward but asks for no
// port, so nothing in the pod notices.
func (c *Cluster) ProbeStreams(ctx context.Context, namespace, pod string) (StreamRoute, error) {
	at := c.core.Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
	route := StreamRoute{Protocol: StreamsWebSocket}
	opened, err := callUnlessDone(ctx, func() (*streamConnection, error) {
		s, err := c.dialWebSocket(ctx, at)
		if lacksWebSocket(err) {
			route = StreamRoute{StreamsSPDY, missingForWebSocket(err)}
			return c.dialSPDY(ctx, at)
		}
		return s, err
	}, func(late *streamConnection) { late.closeOrCut() })
	if err != nil {
		doing := fmt.Sprintf("open a port-forward to pod %s/%s", namespace, pod)
		return StreamRoute{}, c.explainError(ctx, doing, rightCreateForward.scopedTo(namespace, pod), err)
	}

	opened.closeOrCut()
	return route, nil
}

// missingForWebSocket names the right that a WebSocket was refused for, if it was: it begins with
// a GET, and authorization goes by the request's method.
func missingForWebSocket(err error) string {
	var failed *httpstream.UpgradeFailureError
	if errors.As(err, &failed) && apierrors.IsForbidden(failed.Cause) {
		return "get pods/portforward"
	}
	return ""
}

// callUnlessDone calls open in the background, because it obeys ctx only in part. It returns what
// open opened, or the cause if ctx ends first: then it discards what open may still open.
func callUnlessDone[T any](ctx context.Context, open func() (T, error), discard func(T)) (T, error) {
	type opened struct {
		it  T
		err error
	}

	opening := make(chan opened, 1)
	go func() {
		it, err := open()
		opening <- opened{it, err}
	}()

	select {
	case got := <-opening:
		return got.it, got.err
	case <-ctx.Done():
		go func() {
			if late := <-opening; late.err == nil {
				discard(late.it)
			}
		}()

		var none T
		return none, context.Cause(ctx)
	}
}
