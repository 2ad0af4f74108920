package mux

import (
	"io"
	"net"
	"testing"
)

// benchmarkCopy sends pieces through a proxy between two connections over loopback.
func benchmarkCopy(b *testing.B, size int, idle int) {
	var x Proxier
	for range idle {
		_, in := tcpPair(b)
		_, out := tcpPair(b)
		go x.Proxy(NewTCP(in), NewTCP(out), nil)
	}

	caller, in := tcpPair(b)
	program, out := tcpPair(b)
	done := make(chan struct{})
	go func() { defer close(done); x.Proxy(NewTCP(in), NewTCP(out), nil) }()

	received := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{program})
		received <- n
		_ = program.CloseWrite()
	}()

	piece := make([]byte, size)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := caller.Write(piece); err != nil {
			b.Fatal(err)
		}
	}

	_ = caller.CloseWrite()
	if n := <-received; n != int64(b.N)*int64(size) {
		b.Errorf("%d bytes arrived, want %d", n, int64(b.N)*int64(size))
	}
	<-done
}

func BenchmarkProxyBulk(b *testing.B)           { benchmarkCopy(b, 256<<10, 0) }
func BenchmarkProxyBulkBesideIdle(b *testing.B) { benchmarkCopy(b, 256<<10, 200) }

// BenchmarkProxyPing sends a byte there and back.
func BenchmarkProxyPing(b *testing.B) {
	var x Proxier
	caller, in := tcpPair(b)
	program, out := tcpPair(b)
	done := make(chan struct{})
	go func() { defer close(done); x.Proxy(NewTCP(in), NewTCP(out), nil) }()
	go echoBytes(program)

	one := make([]byte, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := caller.Write(one); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(caller, one); err != nil {
			b.Fatal(err)
		}
	}
	_ = caller.CloseWrite()
	<-done
}

func echoBytes(conn *net.TCPConn) {
	buffer := make([]byte, 4<<10)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			break
		}
		_, _ = conn.Write(buffer[:n])
	}
	_ = conn.CloseWrite()
}
