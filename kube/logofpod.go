package kube

import (
	"context"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
)

// confirmedLog checks whose log it is before it passes on the first bytes. By then the kubelet
// has chosen a pod by the name that the request has.
type confirmedLog struct {
	io.ReadCloser
	confirm func() error // nil once it is known
}

func (l *confirmedLog) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if n == 0 || l.confirm == nil {
		return n, err
	}
	if failed := l.confirm(); failed != nil {
		return 0, failed
	}
	l.confirm = nil
	return n, err
}

// confirmPod has a log fail with ErrNoPod if it is another pod's than the request asks for: one that
// was deleted may have been made again under the same name.
func (c *Cluster) confirmPod(ctx context.Context, r LogRequest, log io.ReadCloser) io.ReadCloser {
	if r.UID == "" {
		return log
	}
	return &confirmedLog{log, func() error {
		pod, err := getObject[corev1.Pod](ctx, resource{c.longLived, c.codec, "pods", r.Namespace}, r.Pod)
		if err == nil && pod.UID != r.UID {
			return &Error{Doing: r.operation(), Err: fmt.Errorf("%w: another pod has its name", ErrNoPod)}
		}
		return nil // or nobody knows
	}}
}
