//go:build bench

package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kdiag/integration/kit"
)

// dialogue is a request of a real program and its answer, byte for byte.
type dialogue struct{ request, answer string }

var (
	echoDialogue  = dialogue{"x", "x"}
	redisDialogue = dialogue{"*2\r\n$3\r\nGET\r\n$5\r\ncolor\r\n", "$5\r\ngreen\r\n"}
	httpDialogue  = dialogue{
		"GET /status HTTP/1.1\r\nHost: app:7000\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 15\r\n\r\nall is well now",
	}
)

// answerAll answers every request of a connection.
func (d dialogue) answerAll(conn *net.TCPConn) {
	defer conn.Close()
	request := make([]byte, len(d.request))
	for {
		if _, err := io.ReadFull(conn, request); err != nil {
			return
		}
		if _, err := io.WriteString(conn, d.answer); err != nil {
			return
		}
	}
}

// ask sends the request and waits for the answer.
func (d dialogue) ask(conn *net.TCPConn, answer []byte) (took time.Duration, err error) {
	began := time.Now()
	if _, err := io.WriteString(conn, d.request); err != nil {
		return 0, err
	}
	if _, err := io.ReadFull(conn, answer[:len(d.answer)]); err != nil {
		return 0, err
	}
	return time.Since(began), nil
}

// askUntil asks through a connection of its own until a time, with a pause
// between, and returns how long each answer took.
func (d dialogue) askUntil(path *speedPath, end time.Time, pause time.Duration) (times []time.Duration, err error) {
	conn, err := path.dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()

	kit.SetPatience(conn)
	answer := make([]byte, len(d.answer))
	for time.Now().Before(end) {
		took, err := d.ask(conn, answer)
		if err != nil {
			return nil, fmt.Errorf("ask: %w", err)
		}
		times = append(times, took)
		time.Sleep(pause)
	}

	return times, nil
}

// measureAnswers returns a quantile of how long an answer takes, in ms.
func measureAnswers(t *testing.T, path *speedPath, d dialogue, span, pause time.Duration, quantile float64) float64 {
	t.Helper()
	path.program.setHandler(d.answerAll)
	times, err := d.askUntil(path, time.Now().Add(span), pause)
	if err != nil {
		t.Fatal(err)
	}

	slices.Sort(times)
	at := min(int(quantile*float64(len(times))), len(times)-1)
	return milliseconds(times[at])
}

// milliseconds returns a time in milliseconds.
func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// measureRate returns how many requests a second are answered to callers that keep
// their connections.
func measureRate(t *testing.T, path *speedPath, d dialogue, callers int, span time.Duration) float64 {
	t.Helper()
	path.program.setHandler(d.answerAll)
	var answered atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for range callers {
		all.Go(func() {
			times, err := d.askUntil(path, began.Add(span), 0)
			if err != nil {
				t.Error(err)
			}
			answered.Add(int64(len(times)))
		})
	}

	all.Wait()
	return float64(answered.Load()) / time.Since(began).Seconds()
}

// measureConnections has some callers make connections, one after the other each,
// and returns how long each connection took to open and to carry a byte there and
// back, and how many a second there were.
func measureConnections(t *testing.T, path *speedPath, callers, each int) (median time.Duration, perSecond float64) {
	t.Helper()
	path.program.setHandler(echoDialogue.answerAll)
	var mu sync.Mutex
	var times []time.Duration
	var all sync.WaitGroup
	began := time.Now()
	for range callers {
		all.Go(func() {
			some, err := timeConnections(path, each)
			if err != nil {
				t.Error(err)
			}

			mu.Lock()
			defer mu.Unlock()
			times = append(times, some...)
		})
	}

	all.Wait()
	perSecond = float64(len(times)) / time.Since(began).Seconds()
	if len(times) == 0 {
		t.Fatal("no connection")
	}

	slices.Sort(times)
	return times[len(times)/2], perSecond
}

// timeConnections makes connections one after the other, and returns how long each
// took.
func timeConnections(path *speedPath, many int) (times []time.Duration, err error) {
	err = path.asCaller(func() error {
		for range many {
			took, err := timeConnection(path)
			if err != nil {
				return err
			}
			times = append(times, took)
		}
		return nil
	})
	return times, err
}

// timeConnection returns how long a connection takes to open and to carry a byte
// there and back. It must run by asCaller.
func timeConnection(path *speedPath) (time.Duration, error) {
	began := time.Now()
	conn, err := path.dialHere()
	if err != nil {
		return 0, err
	}
	defer conn.Close()

	kit.SetPatience(conn)
	_, err = echoDialogue.ask(conn, make([]byte, 1))
	return time.Since(began), err
}

// transferSize is how many bytes an HTTP transfer has.
const transferSize = 64 << 20

// measureTransfer returns how many MB a second an HTTP transfer moves, from before
// the connection is opened to its last byte. It is a download if the caller is at
// the end that the bytes go to, else an upload.
func measureTransfer(t *testing.T, path *speedPath, to direction) float64 {
	t.Helper()
	waiting := &handedListener{make(chan net.Conn), make(chan struct{})}
	server := &http.Server{Handler: http.HandlerFunc(serveTransfer)}
	go func() { _ = server.Serve(waiting) }()
	defer server.Close()
	path.program.setHandler(waiting.hand)

	transport := &http.Transport{
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return path.dial() },
		DisableKeepAlives: true,
	}
	client := &http.Client{Transport: transport, Timeout: bulkPatience}
	began := time.Now()
	moved, err := transfer(client, (to == laptopToPod) == path.callerInPod)
	if err != nil || moved != transferSize {
		t.Fatalf("transfer: %d bytes, %v", moved, err)
	}

	return float64(moved) / 1e6 / time.Since(began).Seconds()
}

// transfer downloads, or uploads, one file, and returns how many bytes of it
// arrived.
func transfer(client *http.Client, isDownload bool) (moved int64, err error) {
	var response *http.Response
	if isDownload {
		response, err = client.Get("http://app/")
	} else {
		response, err = client.Post("http://app/", "application/octet-stream", io.LimitReader(zeros{}, transferSize))
	}
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()

	if isDownload {
		return io.Copy(io.Discard, response.Body)
	}
	_, err = fmt.Fscan(response.Body, &moved)
	return moved, err
}

// serveTransfer sends a file, or takes one and answers with its size.
func serveTransfer(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		_, _ = io.CopyN(w, zeros{}, transferSize)
		return
	}
	moved, _ := io.Copy(io.Discard, r.Body)
	fmt.Fprint(w, moved)
}

// zeros reads as zeros without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// handedListener accepts the connections that are handed to it.
type handedListener struct {
	handed chan net.Conn
	closed chan struct{}
}

// hand hands a connection to whoever accepts.
func (l *handedListener) hand(conn *net.TCPConn) {
	select {
	case l.handed <- conn:
	case <-l.closed:
		_ = conn.Close()
	}
}

func (l *handedListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.handed:
		return conn, nil
	case <-l.closed:
		return nil, errors.ErrUnsupported
	}
}

func (l *handedListener) Close() error {
	close(l.closed)
	return nil
}

func (l *handedListener) Addr() net.Addr { return &net.TCPAddr{} }
