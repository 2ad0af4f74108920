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

// LocalServer is a program of the developer's, listening on loopback.
type LocalServer struct {
	net.Listener
	Port string
}

// StartLocalServer serves each connection with handle, in a goroutine of its own.
func StartLocalServer(t *testing.T, handle func(*net.TCPConn)) *LocalServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = listener.Close() })
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			tcp, _ := conn.(*net.TCPConn)
			go handle(tcp)
		}
	}()

	return &LocalServer{listener, port}
}

// EchoBack sends back what comes, and its end.
func EchoBack(conn *net.TCPConn) {
	defer conn.Close()
	_, _ = io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn})
}

// SayWord writes a word and closes.
func SayWord(word string) func(*net.TCPConn) {
	return func(conn *net.TCPConn) {
		defer conn.Close()
		_, _ = io.WriteString(conn, word)
		_ = conn.CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
	}
}

// AnswerRequest is an HTTP server for one request.
func AnswerRequest(conn *net.TCPConn) {
	defer conn.Close()
	request, err := http.ReadRequest(bufio.NewReader(conn))
	if err == nil {
		fmt.Fprintf(conn, "HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(FromLaptop), FromLaptop)
		_ = request.Body.Close()
	}
}

const (
	FromLaptop = "from the laptop"
	FromApp    = "sample app on app"
)

// ExchangeText sends bytes one way and the other through a live connection.
func ExchangeText(conn *net.TCPConn, words string) error {
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, words); err != nil {
		return err
	}

	got := make([]byte, len(words))
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if string(got) != words {
		return fmt.Errorf("got %q, want %q", got, words)
	}

	return nil
}
