package kit

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// What the two ends of a redirect answer to an HTTP request: the program of the
// developer's, and the application in the pod "app".
const (
	FromLaptop = "from the laptop"
	FromApp    = "sample app on app"
)

// LocalServer carries a program of the developer's that listens on loopback.
type LocalServer struct {
	net.Listener
	Port string
}

// StartLocalServer starts a program that handles each connection in a goroutine
// of its own.
func StartLocalServer(t *testing.T, handle func(*net.TCPConn)) *LocalServer {
	t.Helper()
	listener := serveConnections(t, "127.0.0.1:0", handle)
	return &LocalServer{listener, portOf(listener)}
}

// StartServer listens at an address, handles each connection in a goroutine of its
// own until the test ends, and returns the port.
func StartServer(t *testing.T, address string, handle func(*net.TCPConn)) (port string) {
	t.Helper()
	return portOf(serveConnections(t, address, handle))
}

// serveConnections listens at an address and handles each connection in a
// goroutine of its own, until the test ends.
func serveConnections(t *testing.T, address string, handle func(*net.TCPConn)) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = listener.Close() })
	go acceptConnections(listener, handle)
	return listener
}

// acceptConnections handles each connection in a goroutine of its own, until the
// listener is closed.
func acceptConnections(listener net.Listener, handle func(*net.TCPConn)) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}

		tcp, _ := conn.(*net.TCPConn)
		go handle(tcp)
	}
}

// portOf returns the port on which something listens.
func portOf(listener net.Listener) string {
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}

// EchoBytes sends back what comes, and its end.
func EchoBytes(conn *net.TCPConn) {
	defer conn.Close()
	_, _ = io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn})
}

// SayWord returns what writes a word and closes the connection.
func SayWord(word string) func(*net.TCPConn) {
	return func(conn *net.TCPConn) {
		defer conn.Close()
		_, _ = io.WriteString(conn, word)
		_ = conn.CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
	}
}

// AnswerRequest answers one HTTP request with FromLaptop.
func AnswerRequest(conn *net.TCPConn) {
	defer conn.Close()
	request, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}

	fmt.Fprintf(conn, "HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(FromLaptop), FromLaptop)
	_ = request.Body.Close()
}

// ExchangeText sends a text through a connection, and wants it back.
func ExchangeText(conn *net.TCPConn, text string) error {
	SetPatience(conn)
	if _, err := io.WriteString(conn, text); err != nil {
		return err
	}

	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if string(got) != text {
		return fmt.Errorf("got %q, want %q", got, text)
	}

	return nil
}

// callerPatience is the time that a busy machine needs to answer.
const callerPatience = 45 * time.Second

// SetPatience gives a connection the time that a busy machine needs, and no more:
// a test must not hang.
func SetPatience(conn net.Conn) { _ = conn.SetDeadline(time.Now().Add(callerPatience)) }
