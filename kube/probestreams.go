package kube

import (
	"context"
	"fmt"
)

// ProbeStreams finds out how streams reach a running pod: "WebSocket", or "SPDY"
// where the server or a proxy before it has no WebSocket. It opens a
// port-forward and asks for no port, which nothing in the pod learns of.
func (c *Cluster) ProbeStreams(ctx context.Context, namespace, pod string) (string, error) {
	at := c.core.Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
	protocol := "WebSocket"
	opened, err := callUnlessDone(ctx, func() (*streamConnection, error) {
		l, err := c.dialWebSocket(ctx, at)
		if lacksWebSocket(err) {
			protocol = "SPDY"
			return c.dialSPDY(ctx, at)
		}
		return l, err
	}, (*streamConnection).closeOrCut)
	if err != nil {
		doing := fmt.Sprintf("open a port-forward to pod %s/%s", namespace, pod)
		return "", c.explainError(ctx, doing, createForward.scopedTo(namespace, pod), err)
	}

	opened.closeOrCut()
	return protocol, nil
}

// callUnlessDone calls open, which heeds ctx here and there only, and returns what
// it opened, or the cause of ctx's end. What comes too late is closed.
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
