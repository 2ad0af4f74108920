package kube

import (
	"context"
	"fmt"
)

// ProbeStreams finds out how streams reach a running pod: over "WebSocket", or over "SPDY" if the
// server, or a proxy before it, does not support WebSockets. It opens a port-forward but asks for
// no port, so nothing in the pod notices.
func (c *Cluster) ProbeStreams(ctx context.Context, namespace, pod string) (string, error) {
	at := c.core.Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
	protocol := "WebSocket"
	opened, err := callUnlessDone(ctx, func() (*streamConnection, error) {
		s, err := c.dialWebSocket(ctx, at)
		if lacksWebSocket(err) {
			protocol = "SPDY"
			return c.dialSPDY(ctx, at)
		}
		return s, err
	}, func(late *streamConnection) { late.closeOrCut() })
	if err != nil {
		doing := fmt.Sprintf("open a port-forward to pod %s/%s", namespace, pod)
		return "", c.explainError(ctx, doing, rightCreateForward.scopedTo(namespace, pod), err)
	}

	opened.closeOrCut()
	return protocol, nil
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
