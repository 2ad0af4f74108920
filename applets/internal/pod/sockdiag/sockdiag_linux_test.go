package sockdiag

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"kdiag/netfilter/netnstest"

	"golang.org/x/sys/unix"
)

const patience = 10 * time.Second

// echo answers with what it gets.
func echo(c net.Conn) { _, _ = io.Copy(c, c) }

// dialEcho makes a connection that has carried something, so that it is accepted.
func dialEcho(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := sendByte(c); err != nil {
		t.Fatalf("echo from %s: %v", address, err)
	}
	return c
}

// sendByte sends a byte and waits for its echo.
func sendByte(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}

	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

func TestDestroyConnections(t *testing.T) {
	ns := netnstest.New(t)
	ns.Enter(t)
	ns.Serve(t, ":8080", echo)
	ns.Serve(t, ":8081", echo)

	var of8080, others []net.Conn
	for _, address := range []string{"127.0.0.1:8080", "[::1]:8080"} {
		for range 5 {
			of8080 = append(of8080, dialEcho(t, address))
		}
	}

	for _, address := range []string{"127.0.0.1:8081", "[::1]:8081"} {
		others = append(others, dialEcho(t, address))
	}

	spared := of8080[0].LocalAddr().(*net.TCPAddr).AddrPort()
	n, err := DestroyConnections(t.Context(), 8080, func(c TCPConnection) bool { return c.Remote != spared })
	if err != nil || n != len(of8080)-1 {
		t.Fatalf("DestroyConnections = %d, %v, want %d", n, err, len(of8080)-1)
	}

	for _, c := range of8080[1:] {
		if err := sendByte(c); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			t.Errorf("connection to %s after DestroyConnections = %v, want a reset", c.RemoteAddr(), err)
		}
	}

	for _, c := range append(others, of8080[0]) {
		if err := sendByte(c); err != nil {
			t.Errorf("connection to %s after DestroyConnections = %v, want that it lives", c.RemoteAddr(), err)
		}
	}

	if n, err := DestroyConnections(t.Context(), 8080, nil); err != nil || n != 1 {
		t.Errorf("second DestroyConnections = %d, %v, want 1", n, err)
	}

	dialEcho(t, "127.0.0.1:8080") // the listener lives
}

// TestDestroyConnectionsTo resets the connections to a port, seen from the callers.
func TestDestroyConnectionsTo(t *testing.T) {
	ns := netnstest.New(t)
	ns.Enter(t)
	ns.Serve(t, ":8080", echo)
	ns.Serve(t, ":8081", echo)
	gone, other := dialEcho(t, "127.0.0.1:8080"), dialEcho(t, "127.0.0.1:8081")

	if n, err := DestroyConnectionsTo(t.Context(), 8080, nil); err != nil || n != 1 {
		t.Fatalf("DestroyConnectionsTo = %d, %v, want 1", n, err)
	}
	if err := sendByte(gone); !errors.Is(err, syscall.ECONNABORTED) {
		t.Errorf("connection after DestroyConnectionsTo = %v, want that it was aborted", err)
	}
	if err := sendByte(other); err != nil {
		t.Errorf("connection to another port = %v, want that it lives", err)
	}
}

func TestUnsupported(t *testing.T) {
	for err, want := range map[error]bool{
		unix.EOPNOTSUPP: true, unix.EPROTONOSUPPORT: true, unix.ENOENT: true, unix.EINVAL: true,
		unix.EPERM: false, os.ErrDeadlineExceeded: false,
	} {
		if got := markUnsupported(err); errors.Is(got, ErrUnsupported) != want || !errors.Is(got, err) {
			t.Errorf("markUnsupported(%v) = %v, want ErrUnsupported: %v", err, got, want)
		}
	}
}

func TestParseConnectionRefusesShort(t *testing.T) {
	for n := range messageSize {
		if _, c, ok := parseConnection(make([]byte, n)); ok {
			t.Errorf("parseConnection of %d bytes = %+v, want none", n, c)
		}
	}
}
