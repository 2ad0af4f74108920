package kube

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// WaitForReadyLine is the line that a manager prints when it is ready: the first
// line of its container's log that begins with '{'. It waits for it for as
// long as ctx lasts and the container lives.
func (c *Cluster) WaitForReadyLine(ctx context.Context, namespace, pod, container string) ([]byte, error) {
	request := LogRequest{Namespace: namespace, Pod: pod, Container: container, Follow: true, Bare: true}
	log, err := c.waitForLog(ctx, request)
	if err != nil {
		return nil, err
	}
	defer log.Close()

	line, last, err := readFirstObject(log)
	switch {
	case err == nil:
		return line, nil
	case context.Cause(ctx) != nil:
		err = context.Cause(ctx)
	case errors.Is(err, io.EOF) && c.ContainerEnded(ctx, namespace, pod, container):
		err = errors.New(joinReason("the container exited before it was ready", last))
	case errors.Is(err, io.EOF):
		err = errors.New(joinReason("the log ended before the container was ready", last))
	}

	return nil, &Error{Doing: request.operation(), Err: err, Next: fmt.Sprintf("run 'kubectl logs -n %s %s -c %s' for details", namespace, pod, container)}
}

// logRetryInterval is when a log is asked for again that there is none of yet.
const logRetryInterval = 100 * time.Millisecond

// waitForLog opens a container's log. The kubelet knows a second late that a
// container has started, and until then it says that there is none.
func (c *Cluster) waitForLog(ctx context.Context, r LogRequest) (io.ReadCloser, error) {
	for {
		log, err := c.OpenLog(ctx, r)
		if !errors.Is(err, ErrNoLog) || !c.isStarting(ctx, r.Namespace, r.Pod, r.Container) {
			return log, err
		}
		select {
		case <-ctx.Done():
			return nil, &Error{Doing: r.operation(), Err: context.Cause(ctx)}
		case <-time.After(logRetryInterval):
		}
	}
}

// isStarting reports whether a container of a pod may yet have a log.
func (c *Cluster) isStarting(ctx context.Context, namespace, pod, container string) bool {
	got, err := getObject[corev1.Pod](ctx, c.pods(namespace), pod)
	if err != nil || hasEnded(got, container) {
		return false
	}
	for i := range got.Spec.EphemeralContainers {
		if got.Spec.EphemeralContainers[i].Name == container {
			return true
		}
	}
	return false
}

// What stands in a log before a manager's line is bounded, for anything at all
// may run in a container.
const (
	maxLogLine  = 4 << 10
	maxLogLines = 64
)

// readFirstObject reads a log until its first whole line that begins with '{'.
// Without one, last are the last two lines: an error and its hint.
func readFirstObject(log io.Reader) (line []byte, last string, err error) {
	reader := bufio.NewReaderSize(log, maxLogLine)
	before := ""
	for range maxLogLines {
		line, err := reader.ReadSlice('\n')
		if len(line) > 0 {
			before, last = last, string(line)
		}

		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, "", fmt.Errorf("a line is longer than %d bytes", maxLogLine)
		case err != nil:
			return nil, before + last, err
		case line[0] == '{':
			return bytes.Clone(bytes.TrimSuffix(line, []byte("\n"))), "", nil
		}
	}

	return nil, before + last, fmt.Errorf("the first %d lines do not say that the manager is ready", maxLogLines)
}
