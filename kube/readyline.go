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

// WaitForReadyLine waits for the line that a manager prints when it is ready: the first line
// of its container's log that begins with '{'. It gives up when ctx or the container ends.
func (c *Cluster) WaitForReadyLine(ctx context.Context, namespace, pod, container string) ([]byte, error) {
	request := LogRequest{Namespace: namespace, Pod: pod, Container: container, Follow: true, Bare: true}
	log, err := c.waitForLog(ctx, request)
	if err != nil {
		return nil, err
	}
	defer log.Close()

	line, last, err := readFirstObject(log)
	if err == nil {
		return line, nil
	}

	switch {
	case context.Cause(ctx) != nil:
		err = context.Cause(ctx)
	case errors.Is(err, io.EOF) && c.ContainerEnded(ctx, namespace, pod, container):
		err = errors.New(joinReason("the container exited before it was ready", last))
	case errors.Is(err, io.EOF):
		err = errors.New(joinReason("the log ended before the container was ready", last))
	}

	return nil, &Error{Doing: request.operation(), Err: err, Next: fmt.Sprintf("run 'kubectl logs -n %s %s -c %s' for details", namespace, pod, container)}
}

// logRetryInterval is the time between two requests for a log that does not exist yet.
const logRetryInterval = 100 * time.Millisecond

// waitForLog opens a container's log, and tries again while there is none: the kubelet learns
// that a container has started only a second later.
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

// isStarting reports whether an ephemeral container exists, has not ended, and is not one that the
// kubelet cannot start.
func (c *Cluster) isStarting(ctx context.Context, namespace, pod, container string) bool {
	got, err := getObject[corev1.Pod](ctx, c.pods(namespace), pod)
	if err != nil || hasEnded(got, container) || findEphemeral(got, container) == nil {
		return false
	}

	_, stuck := readProgress(got, container, "")
	return stuck == ""
}

// These limit what is read before a manager's line: a container may run anything at all.
const (
	maxReadyLine  = 4 << 10
	maxReadyLines = 64
)

// readFirstObject reads a log up to the first whole line that begins with '{'. If there is
// none it returns the last two lines, which may be an error and its hint.
func readFirstObject(log io.Reader) (line []byte, last string, err error) {
	reader := bufio.NewReaderSize(log, maxReadyLine)
	before := ""
	for range maxReadyLines {
		line, err := reader.ReadSlice('\n')
		if len(line) > 0 {
			before, last = last, string(line)
		}

		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, "", fmt.Errorf("a line is longer than %d bytes", maxReadyLine)
		case err != nil:
			return nil, before + last, err
		case line[0] == '{':
			return bytes.Clone(bytes.TrimSuffix(line, []byte("\n"))), "", nil
		}
	}

	return nil, before + last, fmt.Errorf("the first %d lines do not say that the manager is ready", maxReadyLines)
}
