package mux

import (
	"io"
	"testing"
)

// BenchmarkStream moves bytes over one connection of a session over loopback.
func BenchmarkStream(b *testing.B) {
	client, server := newSessions(b, SessionOptions{}, SessionOptions{Budget: NewBudget(10 << 20), Window: 4 << 20, Buffer: 10 << 20}, nil)
	near, far := newStreams(b, client, server)
	const piece = 64 << 10
	for _, c := range []struct {
		name     string
		from, to *Conn
	}{{"to laptop", far, near}, {"to pod", near, far}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(piece)
			b.ReportAllocs()
			many := int64(b.N) * piece
			done := make(chan error, 1)
			go func() {
				_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.LimitReader(c.to, many), make([]byte, piece))
				done <- err
			}()

			sent := make([]byte, piece)
			for range b.N {
				if _, err := c.from.Write(sent); err != nil {
					b.Fatal(err)
				}
			}
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		})
	}
}
