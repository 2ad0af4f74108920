package resumable

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"testing"
	"time"
)

// dialers are the connections that the benchmarks run over.
var dialers = []struct {
	name string
	dial func(b *testing.B) (x, y net.Conn)
}{
	{"pipe", func(*testing.B) (x, y net.Conn) { return net.Pipe() }},
	{"tcp", func(b *testing.B) (x, y net.Conn) { return loopback(b) }},
	{"tls", dialTLS},
	{"50ms", func(*testing.B) (x, y net.Conn) {
		return (&simulatedLink{delay: 25 * time.Millisecond}).dial()
	}},
	{"100ms-100Mbit", func(*testing.B) (x, y net.Conn) {
		return (&simulatedLink{rate: 100 * megabit, delay: 50 * time.Millisecond, buffer: 16 << 20}).dial()
	}},
}

func dialTLS(b *testing.B) (x, y net.Conn) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		b.Fatal(err)
	}

	config := &tls.Config{
		InsecureSkipVerify: true,
		MinVersion:         tls.VersionTLS13,
		Certificates:       []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}},
	}
	client, server := loopback(b)
	return tls.Client(client, config), tls.Server(server, config)
}

const benchSize = 32 << 10

// BenchmarkOneWay moves bulk data through the gate, as the session does.
func BenchmarkOneWay(b *testing.B) {
	for _, dialer := range dialers {
		b.Run(dialer.name, func(b *testing.B) {
			from, to := newPair(b, Options{Buffer: 16 << 20})
			x, y := dialer.dial(b)
			connect(b, from, to, x, y)
			go discard(from)
			go func() {
				p := make([]byte, benchSize)
				flow := newBulkFlow()
				for from.WaitToSend(benchSize, flow, nil) == nil {
					_, _ = from.Write(p)
					from.Flush()
				}
			}()

			p := make([]byte, benchSize)
			began := time.Now()
			for time.Since(began) < time.Second/2 { // the window finds the path
				_, _ = to.Read(p)
			}

			b.SetBytes(benchSize)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if _, err := io.ReadFull(to, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkConnOneWay moves the same over the connection alone, to compare.
func BenchmarkConnOneWay(b *testing.B) {
	for _, dialer := range dialers[:3] {
		b.Run(dialer.name, func(b *testing.B) {
			x, y := dialer.dial(b)
			defer x.Close()
			defer y.Close()
			go func() {
				p := make([]byte, maxBatch)
				for {
					if _, err := x.Write(p); err != nil {
						return
					}
				}
			}()

			p := make([]byte, benchSize)
			b.SetBytes(benchSize)
			for range b.N {
				if _, err := io.ReadFull(y, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPingPong sends 100 bytes there and back.
func BenchmarkPingPong(b *testing.B) {
	for _, dialer := range dialers[:3] {
		b.Run(dialer.name, func(b *testing.B) {
			here, there := newPair(b, Options{})
			x, y := dialer.dial(b)
			connect(b, here, there, x, y)
			go func() {
				p := make([]byte, 100)
				for {
					if _, err := io.ReadFull(there, p); err != nil {
						return
					}
					_, _ = there.Write(p)
					there.Flush()
				}
			}()

			p := make([]byte, 100)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = here.Write(p)
				here.Flush()
				if _, err := io.ReadFull(here, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
