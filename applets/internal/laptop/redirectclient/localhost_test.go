package redirectclient

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
)

// TestDialLocalhost finds a program that listens on one loopback address alone, whichever of
// them the system calls localhost.
func TestDialLocalhost(t *testing.T) {
	for _, loopback := range loopbacks {
		t.Run(loopback, func(t *testing.T) {
			listener, err := net.Listen("tcp", net.JoinHostPort(loopback, "0"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = listener.Close() })
			_, port, err := net.SplitHostPort(listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}

			for _, host := range []string{"localhost", "LocalHost", loopback} {
				conn, err := dialProgram(t.Context(), net.JoinHostPort(host, port))
				if err != nil {
					t.Errorf("dialProgram(%s) = %v, want a connection", host, err)
					continue
				}
				_ = conn.Close()
			}
		})
	}
}

// TestDialLocalhostRefused keeps the reason, and tries no other address for any other name.
func TestDialLocalhostRefused(t *testing.T) {
	listener, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())

	if _, err := dialProgram(t.Context(), "127.0.0.1:"+port); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialProgram(127.0.0.1) = %v, want ECONNREFUSED: the program is on ::1", err)
	}

	_ = listener.Close()
	if _, err := dialProgram(t.Context(), "localhost:"+port); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialProgram(localhost) = %v, want ECONNREFUSED", err)
	}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dialProgram(ended, "localhost:"+port); !errors.Is(err, context.Canceled) {
		t.Errorf("dialProgram after the end = %v, want that it was cancelled", err)
	}
}
