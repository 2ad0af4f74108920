package netfilter

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

const (
	testMark = 0x6b64
	appPort  = 8080
	listener = 15001
)

// waitTimeout limits every wait of a test.
const waitTimeout = 10 * time.Second

// startServer starts a server that greets each connection with a line and then
// echoes what it gets. It ends with the test.
func startServer(t *testing.T, ns namespace, port int, greet func(net.Conn) string) {
	t.Helper()
	ns.Serve(t, fmt.Sprintf(":%d", port), func(c net.Conn) {
		fmt.Fprintf(c, "%s\n", greet(c))
		_, _ = io.Copy(c, c)
	})
}

func greetWith(word string) func(net.Conn) string { return func(net.Conn) string { return word } }

// greetWithDestination greets a peer with the address that it dialed.
func greetWithDestination(c net.Conn) string {
	to, err := OriginalDestination(c.(*net.TCPConn))
	if errors.Is(err, ErrNotRedirected) {
		return "not redirected"
	}
	if err != nil {
		return err.Error()
	}
	return "redirected from " + to.String()
}

// greetedConn carries a connection and the greeting that came over it.
type greetedConn struct {
	net.Conn
	read     *bufio.Reader
	greeting string
}

func dialFrom(ns namespace, mark uint32, to string) (c greetedConn, err error) {
	dialer := net.Dialer{Timeout: waitTimeout}
	if mark != 0 {
		dialer.Control = ControlMark(mark)
	}

	err = ns.Do(func() (err error) {
		c.Conn, err = dialer.Dial("tcp", to)
		return err
	})
	if err != nil {
		return greetedConn{}, err
	}

	_ = c.SetDeadline(time.Now().Add(waitTimeout))
	c.read = bufio.NewReader(c)
	c.greeting, err = c.read.ReadString('\n')
	c.greeting = strings.TrimSpace(c.greeting)
	return c, err
}

// echo fails if the connection no longer carries anything.
func (c greetedConn) echo() error {
	_ = c.SetDeadline(time.Now().Add(waitTimeout))
	if _, err := io.WriteString(c, "still there?\n"); err != nil {
		return err
	}
	line, err := c.read.ReadString('\n')
	if err == nil && line != "still there?\n" {
		err = fmt.Errorf("echo = %q", line)
	}
	return err
}

// wantGreeting dials an address and compares the greeting.
func wantGreeting(t *testing.T, ns namespace, mark uint32, to, want string) {
	t.Helper()
	c, err := dialFrom(ns, mark, to)
	if err != nil {
		t.Errorf("dial %s: %v, want %q", to, err, want)
		return
	}
	defer c.Close()

	if c.greeting != want {
		t.Errorf("dial %s: greeted with %q, want %q", to, c.greeting, want)
	}
	if err := c.echo(); err != nil {
		t.Errorf("echo from %s: %v", to, err)
	}
}

// dialMany opens 50 connections, half of them over IPv6.
func dialMany(t *testing.T, ns namespace, want string) []greetedConn {
	t.Helper()
	var out []greetedConn
	for i := range 50 {
		to := net.JoinHostPort([]string{pod4, pod6}[i%2], fmt.Sprint(appPort))
		c, err := dialFrom(ns, 0, to)
		if err != nil || !strings.HasPrefix(c.greeting, want) {
			t.Fatalf("dial %s: %v, greeted with %q, want %q", to, err, c.greeting, want)
		}
		t.Cleanup(func() { c.Close() })
		out = append(out, c)
	}

	return out
}

func wantAlive(t *testing.T, when string, conns []greetedConn) {
	t.Helper()
	broken := 0
	for _, c := range conns {
		if c.echo() != nil {
			broken++
		}
	}
	if broken != 0 {
		t.Errorf("%s: %d of %d connections broke, want 0", when, broken, len(conns))
	}
}
