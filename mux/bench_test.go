package mux

import (
	"io"
	"sync"
	"testing"
)

// benchmarkStreams sends pieces from the manager's side over some connections of one session over
// loopback, and reads them.
func benchmarkStreams(b *testing.B, many int) {
	client, server := newSessions(b, SessionOptions{}, managerOptions(), nil)
	const size = 256 << 10
	pieces := make(chan struct{})
	var writing, reading sync.WaitGroup
	for range many {
		near, far := newStreams(b, client, server)
		writing.Go(func() {
			piece := make([]byte, size)
			for range pieces {
				if _, err := far.Write(piece); err != nil {
					b.Error(err)
				}
			}
			_ = far.CloseWrite()
		})
		reading.Go(func() {
			buffer := make([]byte, 32<<10)
			if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{near}, buffer); err != nil {
				b.Error(err)
			}
			_ = near.CloseWrite()
		})
	}

	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		pieces <- struct{}{}
	}
	close(pieces)
	writing.Wait()
	reading.Wait()
}

func BenchmarkOneStream(b *testing.B)    { benchmarkStreams(b, 1) }
func BenchmarkEightStreams(b *testing.B) { benchmarkStreams(b, 8) }

// BenchmarkConnect opens a connection, sends a byte there and back, and ends it.
func BenchmarkConnect(b *testing.B) {
	client, server := newSessions(b, SessionOptions{}, managerOptions(), nil)
	var echo sync.WaitGroup
	echo.Go(func() {
		one := make([]byte, 1)
		for {
			near, err := client.Accept()
			if err != nil {
				return
			}
			_, _ = near.Read(one)
			_, _ = near.Write(one)
			_ = near.CloseWrite()
			_, _ = near.Read(one)
		}
	})

	one := make([]byte, 1)
	b.ReportAllocs()
	for b.Loop() {
		far, err := server.Open(Header{Redirect: 1})
		if err != nil {
			b.Fatal(err)
		}
		_, _ = far.Write(one)
		if _, err := far.Read(one); err != nil {
			b.Fatal(err)
		}
		_ = far.CloseWrite()
		_, _ = far.Read(one)
	}
	_ = client.Close()
	echo.Wait()
}

// BenchmarkPing sends a byte there and back on one connection.
func BenchmarkPing(b *testing.B) {
	client, server := newSessions(b, SessionOptions{}, managerOptions(), nil)
	near, far := newStreams(b, client, server)
	var echo sync.WaitGroup
	echo.Go(func() { _, _ = io.CopyBuffer(struct{ io.Writer }{near}, struct{ io.Reader }{near}, make([]byte, 64)) })

	one := make([]byte, 1)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = far.Write(one)
		if _, err := far.Read(one); err != nil {
			b.Fatal(err)
		}
	}
	far.Reset()
	echo.Wait()
}

func BenchmarkHeader(b *testing.B) {
	h := Header{Redirect: 7}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeHeader(h.Encode()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSignal(b *testing.B) {
	var buffer [signalSize + HeaderSize]byte
	var encoded []byte
	var source loopReader
	b.ReportAllocs()
	for b.Loop() {
		encoded = signal{kind: signalCredit, stream: 2, value: 1 << 20}.appendTo(encoded[:0])
		source.bytes = encoded
		if _, err := readSignal(&source, &buffer); err != nil {
			b.Fatal(err)
		}
	}
}

// loopReader returns the same bytes for ever.
type loopReader struct{ bytes []byte }

func (l *loopReader) Read(p []byte) (int, error) { return copy(p, l.bytes), nil }
