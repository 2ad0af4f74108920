package mux

import (
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// processTime returns how long this process has used the processors.
func processTime(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// TestNoSpin closes a session with 1,000 idle connections whose link takes no writes any more. The
// readers and writers must not keep the cores busy until it is closed.
func TestNoSpin(t *testing.T) {
	var gate *gateConn
	client, server := newSessions(t, SessionOptions{}, SessionOptions{}, func(a, b net.Conn) (net.Conn, net.Conn) {
		gate = newGateConn(b)
		return a, gate
	})

	var blocked sync.WaitGroup
	for range 1000 {
		_, far := newStreams(t, client, server)
		blocked.Go(func() { _, _ = far.Read(make([]byte, 1)) })
	}
	for range 50 {
		_, far := newStreams(t, client, server)
		blocked.Go(func() { _, _ = io.Copy(far, zeroReader{}) })
	}
	gate.stopWrites()
	runtime.GC()

	began, cpu := time.Now(), processTime(t)
	_ = server.Close()
	blocked.Wait()
	took, used := time.Since(began), processTime(t)-cpu
	t.Logf("Close took %v, and %v of CPU time", took, used)
	if used > took/2+500*time.Millisecond || took > closeTimeout+patience/2 {
		t.Errorf("Close took %v, and %v of CPU time", took, used)
	}
}
