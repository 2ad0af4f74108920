package redirectserver

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// silentServer is a name server that answers nothing.
func silentServer(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.LocalAddr().String()
}

// closedServer returns an address where no name server is.
func closedServer(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().String()
}

// TestNoNameServer has a lookup fail as soon as the kernel has said once that nobody listens, which it
// does not say to everybody who asks.
func TestNoNameServer(t *testing.T) {
	silent, closed := silentServer(t), closedServer(t)
	var mu sync.Mutex
	asked := 0
	resolve := newResolver(func(ctx context.Context, network, _ string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		to := silent
		if asked == 2 {
			to = closed
		}
		return (&net.Dialer{}).DialContext(ctx, network, to)
	})

	_, _, err := resolve(t.Context(), "nohost.test")
	if err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("resolve = %v, want that the connection was refused", err)
	}
	if asked > 2*maxUnanswered {
		t.Errorf("asked %d times, want no more once nobody is there", asked)
	}
}

// TestSilentNameServer asks no more of a server that has answered nothing.
func TestSilentNameServer(t *testing.T) {
	s := (&nameServers{}).find("server")
	for range maxUnanswered {
		if err := s.noteRead(timeoutError(t)); err == nil || s.whyDead() != nil && s.unanswered < maxUnanswered {
			t.Errorf("after %d questions: %v, %v", s.unanswered, err, s.whyDead())
		}
	}
	if s.whyDead() == nil {
		t.Errorf("it is asked after %d questions without an answer", s.unanswered)
	}
	if err := s.noteRead(timeoutError(t)); !errors.Is(err, s.whyDead()) {
		t.Errorf("later = %v, want %v", err, s.whyDead())
	}

	// One that has answered is slow, and not dead.
	s = (&nameServers{}).find("server")
	_ = s.noteRead(nil)
	for range 2 * maxUnanswered {
		_ = s.noteRead(timeoutError(t))
	}
	if s.whyDead() != nil {
		t.Errorf("a server that has answered is dead: %v", s.whyDead())
	}
}

// timeoutError returns what a read returns whose time is up.
func timeoutError(t *testing.T) error {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	_ = near.SetReadDeadline(time.Unix(1, 0))
	_, err := near.Read(make([]byte, 1))
	return err
}
