package kube

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	gorilla "github.com/gorilla/websocket"
	mobyspdy "github.com/moby/spdystream/spdy"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// forwardPair returns a forwarded connection whose streams are open, and the server's end of
// what it runs on.
func forwardPair(t *testing.T, isWebSocket bool) (*forwardedConn, net.Conn) {
	t.Helper()
	here, server := net.Pipe()
	f := newForwardedConn(newStreamConnection(&bufferedConn{here, bufio.NewReaderSize(here, upgradedBuffer)}, isWebSocket), "forward", 80)
	t.Cleanup(func() {
		_ = server.Close()
		_ = f.Close()
	})
	return f, server
}

// drain reads and drops what a side sends.
func drain(side io.Reader) { _, _ = io.Copy(io.Discard, side) }

// send writes to a side that may end meanwhile.
func send(side io.Writer, what string) { _, _ = io.WriteString(side, what) }

// serverMessage returns a message of a WebSocket as a server sends it, in one frame.
func serverMessage(opcode byte, payload string) string {
	var head []byte
	switch n := len(payload); {
	case n < 126:
		head = []byte{0x80 | opcode, byte(n)}
	case n < 1<<16:
		head = binary.BigEndian.AppendUint16([]byte{0x80 | opcode, 126}, uint16(n))
	default:
		head = binary.BigEndian.AppendUint64([]byte{0x80 | opcode, 127}, uint64(n))
	}
	return string(head) + payload
}

// dataFrame returns a data frame of SPDY.
func dataFrame(stream uint32, data string, last bool) string {
	header := newDataHeader(stream, len(data), last)
	return string(header[:]) + data
}

// controlFrameOf returns a control frame of SPDY.
func controlFrameOf(kind mobyspdy.ControlFrameType, numbers ...uint32) string {
	return string(newControlFrame(kind, numbers...))
}

// forwardScripts are what a server sends after the streams were opened, and what Reads make of it.
var forwardScripts = map[string]struct {
	sent []string // frames of SPDY
	data string
	fail string // in the error after the data; "" for io.EOF
}{
	"data and its end":            {[]string{dataFrame(3, "hello ", false), dataFrame(3, "world", false), dataFrame(1, "", true), dataFrame(3, "", true)}, "hello world", ""},
	"the end with the last data":  {[]string{dataFrame(1, "", true), dataFrame(3, "hello", true)}, "hello", ""},
	"the error stream ends later": {[]string{dataFrame(3, "x", true), dataFrame(1, "", true)}, "x", ""},
	"empty frames":                {[]string{dataFrame(3, "", false), dataFrame(3, "x", false), dataFrame(3, "", false), dataFrame(1, "", true), dataFrame(3, "", true)}, "x", ""},
	"frames that mean nothing here": {[]string{
		dataFrame(5, "for nobody", false), controlFrameOf(mobyspdy.TypeSettings, 0), dataFrame(0, "nor this", true),
		controlFrameOf(mobyspdy.TypeWindowUpdate, 3, 1), dataFrame(3, "x", false), controlFrameOf(mobyspdy.TypeHeaders, 3, 0),
		controlFrameOf(mobyspdy.TypeGoAway, 0, 0), controlFrameOf(99, 3, 3, 3), controlFrameOf(mobyspdy.TypePing, 1),
		controlFrameOf(mobyspdy.TypeSynStream, 2, 0, 0), dataFrame(2, "pushed", true), controlFrameOf(mobyspdy.TypeRstStream, 7, 1),
		dataFrame(5, strings.Repeat("much", 1<<10), false), dataFrame(3, "y", false),
		dataFrame(1, "", true), dataFrame(3, "", true),
	}, "xy", ""},
	"a failure after data":       {[]string{dataFrame(3, "x", false), dataFrame(1, "connection ", false), dataFrame(1, "refused", false), controlFrameOf(mobyspdy.TypeRstStream, 3, 5), controlFrameOf(mobyspdy.TypeRstStream, 1, 5)}, "x", "connection refused"},
	"a failure, and a clean end": {[]string{dataFrame(1, "no", true), dataFrame(3, "x", true)}, "x", "forward: no"},
	"a failure of 1 MiB":         {[]string{dataFrame(1, strings.Repeat("n", 1<<20), true), dataFrame(3, "x", true)}, "x", "nnn"},
	"a reset without a reason":   {[]string{dataFrame(3, "x", false), dataFrame(1, "", true), controlFrameOf(mobyspdy.TypeRstStream, 3, 5)}, "x", "reset"},
	"lost":                       {[]string{dataFrame(3, "x", false)}, "x", "connection to the API server was lost"},
	"lost in a header":           {[]string{dataFrame(3, "x", false), "\x00\x00\x00"}, "x", "connection to the API server was lost"},
	"lost in a frame":            {[]string{dataFrame(3, "hello", false)[:10]}, "he", "connection to the API server was lost"},
	"lost after a failure":       {[]string{dataFrame(3, "x", false), dataFrame(1, "no", true)}, "x", "forward: no"},
	"gone away":                  {[]string{dataFrame(3, "x", false), controlFrameOf(mobyspdy.TypeGoAway, 0, 0)}, "x", "connection to the API server was lost"},
	"not SPDY 3.1":               {[]string{dataFrame(3, "x", false), "\x80\x02\x00\x06\x00\x00\x00\x04\x00\x00\x00\x02"}, "x", "not SPDY 3.1"},
	"a control frame of nothing": {[]string{"\x80\x03\x00\x06\x00\x00\x00\x00"}, "", "not SPDY 3.1"},
}

// TestForwardReads wants the same of a script, whatever pieces it comes in: each frame a
// message, all in one message, each byte a message, each byte a frame of one message.
func TestForwardReads(t *testing.T) {
	ways := map[string]func([]string) string{
		"SPDY": func(frames []string) string { return strings.Join(frames, "") },
		"a message for each frame": func(frames []string) string {
			var sent string
			for _, frame := range frames {
				sent += serverMessage(wsBinary, frame)
			}
			return sent
		},
		"one message": func(frames []string) string { return serverMessage(wsBinary, strings.Join(frames, "")) },
		"a message for three bytes": func(frames []string) string {
			var sent strings.Builder
			for piece := range slices.Chunk([]byte(strings.Join(frames, "")), 3) {
				sent.WriteString(serverMessage(wsBinary, string(piece)) + serverMessage(wsPing, "there?") + serverMessage(wsPong, "") + serverMessage(wsBinary, ""))
			}
			return sent.String()
		},
		"fragments of seven bytes": func(frames []string) string {
			sent := []byte{wsBinary, 0}
			for piece := range slices.Chunk([]byte(strings.Join(frames, "")), 7) {
				sent = append(append(sent, wsContinuation, byte(len(piece))), piece...)
			}
			return string(sent) + "\x80\x00"
		},
	}

	for wayName, encode := range ways {
		for name, script := range forwardScripts {
			t.Run(wayName+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f, server := forwardPair(t, wayName != "SPDY")
					go drain(server)
					go func() {
						_, _ = io.WriteString(server, encode(script.sent))
						_ = server.Close()
					}()
					verifyReads(t, f, script.data, script.fail)
				})
			})
		}
	}
}

// verifyReads reads a connection to its end.
func verifyReads(t *testing.T, f *forwardedConn, data, fail string) {
	t.Helper()
	got, err := io.ReadAll(f)
	if string(got) != data {
		t.Errorf("data = %q, want %q", got, data)
	}

	_, again := f.Read(make([]byte, 1))
	if fail == "" {
		if err != nil || !errors.Is(again, io.EOF) {
			t.Errorf("end = %v, then %v, want io.EOF", err, again)
		}
		return
	}

	if err == nil || !strings.Contains(err.Error(), fail) || again.Error() != err.Error() || errors.Is(err, io.EOF) {
		t.Errorf("end = %v, then %v, want %q", err, again, fail)
	}
	if _, err = f.Write([]byte("x")); err == nil || !strings.Contains(err.Error(), fail) {
		t.Errorf("Write = %v, want %q", err, fail)
	}
	if len(err.Error()) > maxFailure+100 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

// TestForwardBrokenWebSocket wants an error for each thing that a server must not send.
func TestForwardBrokenWebSocket(t *testing.T) {
	for name, c := range map[string]struct{ sent, fail string }{
		"text":                 {serverMessage(1, "hello"), "opcode 1"},
		"HTTP":                 {"HTTP/1.1 200 OK\r\n\r\n", "extension"},
		"an unknown opcode":    {serverMessage(3, ""), "opcode 3"},
		"an unknown control":   {serverMessage(11, ""), "opcode 11"},
		"nothing to continue":  {serverMessage(wsContinuation, "x"), "opcode 0"},
		"a message in another": {"\x02\x00" + serverMessage(wsBinary, "x"), "opcode 2"},
		"an extension":         {"\xc2\x00", "extension"},
		"a mask":               {"\x82\x81\x00\x00\x00\x00x", "masks"},
		"a ping in fragments":  {"\x09\x00", "too long"},
		"a ping of 126 bytes":  {serverMessage(wsPing, strings.Repeat("x", 126)), "too long"},
		"a frame of 2^63":      {"\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00", "too long"},
		"closed":               {serverMessage(wsClose, "\x03\xe8"), "was lost"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, server := forwardPair(t, true)
				go drain(server)
				go send(server, c.sent)
				verifyReads(t, f, "", c.fail)
			})
		})
	}
}

// TestForwardWithoutErrorStream wants the end of the data even if the error stream does not end.
func TestForwardWithoutErrorStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, server := forwardPair(t, true)
		go send(server, serverMessage(wsBinary, dataFrame(3, "x", true)))
		_ = f.SetReadDeadline(time.Now().Add(failureWait / 2))
		if n, err := f.Read(make([]byte, 9)); n != 1 || err != nil {
			t.Fatalf("Read = %d, %v", n, err)
		}
		if _, err := f.Read(make([]byte, 9)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read until an earlier deadline = %v", err)
		}

		_ = f.SetReadDeadline(time.Time{})
		began := time.Now()
		if _, err := f.Read(make([]byte, 9)); !errors.Is(err, io.EOF) || time.Since(began) > failureWait {
			t.Errorf("Read = %v after %s, want io.EOF", err, time.Since(began))
		}
	})
}

// TestForwardReadDeadline lets a deadline pass before each byte, and wants nothing lost.
func TestForwardReadDeadline(t *testing.T) {
	for _, isWebSocket := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f, server := forwardPair(t, isWebSocket)
			go drain(server)
			sent := dataFrame(3, "hello", false) + controlFrameOf(mobyspdy.TypePing, 1) + dataFrame(3, " world", false) + dataFrame(1, "", true) + dataFrame(3, "", true)
			if isWebSocket {
				sent = serverMessage(wsBinary, sent[:20]) + serverMessage(wsPing, "there?") + serverMessage(wsBinary, sent[20:])
			}
			go func() {
				for i := range sent {
					time.Sleep(time.Second) // by synctest's clock
					_, _ = io.WriteString(server, sent[i:i+1])
				}
			}()

			var got []byte
			late := 0
			for range 10 * len(sent) {
				_ = f.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
				piece := make([]byte, 9)
				n, err := f.Read(piece)
				got = append(got, piece[:n]...)
				if errors.Is(err, io.EOF) {
					break
				} else if errors.Is(err, os.ErrDeadlineExceeded) {
					late++
				} else if err != nil {
					t.Fatal(err)
				}
			}
			if string(got) != "hello world" || late < len(sent) {
				t.Errorf("got %q with %d deadlines that passed", got, late)
			}
		})
	}
}

// TestForwardOpens wants the streams opened in one message, whatever order the answers come in.
func TestForwardOpens(t *testing.T) {
	reply := func(stream uint32) string { return controlFrameOf(mobyspdy.TypeSynReply, stream, 0) }
	for name, c := range map[string]struct{ answer, fail, data string }{
		"in order":                  {reply(1) + reply(3), "", ""},
		"the other way round":       {reply(3) + reply(1), "", ""},
		"data before the second":    {reply(3) + dataFrame(3, "early", false), "", "early"},
		"error stream refused":      {controlFrameOf(mobyspdy.TypeRstStream, 1, 3), "open the error stream: the stream was reset", ""},
		"data stream refused":       {reply(1) + controlFrameOf(mobyspdy.TypeRstStream, 3, 3), "open the data stream: the stream was reset", ""},
		"an end before the answers": {dataFrame(1, "", true) + dataFrame(3, "", true) + reply(3) + reply(1), "", ""},
		"a reset before the second": {reply(1) + dataFrame(1, "nobody there", false) + controlFrameOf(mobyspdy.TypeRstStream, 3, 5) + reply(3) + reply(1), "", ""},
		"a reset before its reason": {reply(1) + controlFrameOf(mobyspdy.TypeRstStream, 3, 5) + dataFrame(1, "nobody there", false), "", ""},
		"lost":                      {reply(1), "was lost", ""},
		"answered in another way":   {"HTTP/1.1 500 Sorry\r\n\r\n", "was lost", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, server := forwardPair(t, false)
				go func() {
					_, _ = server.Read(make([]byte, 1<<10)) // in a net.Pipe, all of one Write
					_, _ = io.WriteString(server, c.answer)
					if c.fail != "" {
						_ = server.Close()
					}
					_, _ = io.Copy(io.Discard, server)
				}()

				err := f.openStreams()
				if c.fail == "" && err != nil || c.fail != "" && (err == nil || !strings.Contains(err.Error(), c.fail)) {
					t.Errorf("openStreams = %v, want %q", err, c.fail)
				}
				if got := make([]byte, len(c.data)); c.data != "" {
					if _, err := io.ReadFull(f, got); err != nil || string(got) != c.data {
						t.Errorf("Read = %q, %v, want %q", got, err, c.data)
					}
				}
			})
		})
	}
}

// TestForwardAnswersPings wants pings answered, and no Read held up by a server that does not
// read.
func TestForwardAnswersPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, server := forwardPair(t, false)
		const many = 4 * maxAnswers
		go func() {
			for range many {
				_, _ = io.WriteString(server, controlFrameOf(mobyspdy.TypePing, 2)+dataFrame(3, "x", false))
			}
		}()
		if _, err := io.ReadFull(f, make([]byte, many)); err != nil {
			t.Fatal(err)
		}

		got := make([]byte, 12)
		if _, err := io.ReadFull(server, got); err != nil || string(got) != controlFrameOf(mobyspdy.TypePing, 2) {
			t.Errorf("answer = %x, %v", got, err)
		}
	})
}

// TestForwardSendsPings wants a ping every period, though nobody reads or writes.
func TestForwardSendsPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, server := forwardPair(t, false)
		for _, id := range []uint32{1, 3, 5} {
			began := time.Now()
			got := make([]byte, 12)
			if _, err := io.ReadFull(server, got); err != nil || string(got) != controlFrameOf(mobyspdy.TypePing, id) || time.Since(began) != pingPeriod {
				t.Errorf("ping = %x, %v after %s", got, err, time.Since(began))
			}
		}
	})
}

// TestForwardClose wants Close to end a Read and a Write that are stuck, within its patience.
func TestForwardClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := forwardPair(t, true)
		ends := make(chan error, 2)
		go func() {
			_, err := f.Read(make([]byte, 1))
			ends <- err
		}()
		go func() {
			_, err := f.Write(make([]byte, 1<<20))
			ends <- err
		}()
		synctest.Wait()

		began := time.Now()
		for range 2 {
			if err := f.Close(); err != nil || time.Since(began) > closePatience {
				t.Errorf("Close = %v after %s", err, time.Since(began))
			}
		}
		for range 2 {
			if err := <-ends; !errors.Is(err, net.ErrClosed) {
				t.Errorf("ended with %v, want net.ErrClosed", err)
			}
		}
		_, readErr := f.Read(make([]byte, 1))
		_, writeErr := f.Write([]byte("x"))
		if !errors.Is(readErr, net.ErrClosed) || !errors.Is(writeErr, net.ErrClosed) {
			t.Errorf("after Close: %v, %v", readErr, writeErr)
		}
	})
}

// TestForwardWriteDeadline wants a Write ended by its deadline, and the connection with it.
func TestForwardWriteDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := forwardPair(t, true)
		_ = f.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := f.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write = %v", err)
		}
		_ = f.SetWriteDeadline(time.Time{})
		if _, err := f.Read(make([]byte, 1)); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Read after it = %v, want a lost connection", err)
		}
		if _, err := f.Write([]byte("x")); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Write after it = %v, want a lost connection", err)
		}
	})
}

// TestForwardWrites wants a Write in messages that fill records of TLS, each written at once.
func TestForwardWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, server := forwardPair(t, true)
		go send(f, string(make([]byte, 2*maxFrame+1)))
		message := make([]byte, 1<<17)
		for _, want := range []int{64 << 10, 64 << 10, 1 + spdyHeaderSize + 6} {
			// In a net.Pipe a Read gets no more than one Write.
			if n, err := server.Read(message); n != want || err != nil {
				t.Errorf("wrote %d bytes at once, %v, want %d", n, err, want)
			}
		}
	})
}

// TestAppendMessage has gorilla/websocket read what is written, at every length that matters.
func TestAppendMessage(t *testing.T) {
	var got []string
	var want []string
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		conn, err := (&gorilla.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		for {
			_, message, err := conn.ReadMessage()
			if err != nil {
				return
			}
			got = append(got, string(message))
		}
	}))
	defer server.Close()

	conn, _, err := gorilla.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil) //nolint:bodyclose // it is hijacked
	if err != nil {
		t.Fatal(err)
	}
	var writer webSocketWriter
	var out []byte
	for i, n := range []int{0, 1, 117, 118, 1023, 1024, 1025, 65527, 65528, 300_001} {
		first, second := strings.Repeat("h", 8-i%5), strings.Repeat("payload", n/7+1)[:n]
		want = append(want, first+second)
		out = writer.appendMessage(out[:0], wsBinary, []byte(first), []byte(second))
		if _, err = conn.NetConn().Write(out); err != nil {
			t.Fatal(err)
		}
	}
	_ = conn.Close()
	<-done
	if !slices.Equal(got, want) {
		t.Errorf("%d messages arrived, want %d, and the same", len(got), len(want))
	}
}

// kubeletServer serves port-forwards as the API server and a kubelet do: the one by gorilla's
// WebSockets, the other by spdystream. Each connection is echoed; port 99 is refused.
func kubeletServer(t *testing.T, refusesWebSocket bool) *Cluster {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		streams := make(chan httpstream.Stream, 2)
		accept := func(stream httpstream.Stream, _ <-chan struct{}) error {
			streams <- stream
			return nil
		}

		var connection httpstream.Connection
		if gorilla.IsWebSocketUpgrade(r) && !refusesWebSocket {
			conn, err := (&gorilla.Upgrader{Subprotocols: []string{"SPDY/3.1+portforward.k8s.io"}}).Upgrade(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			connection, err = spdy.NewServerConnection(portforward.NewTunnelingConnectionWithLogger(logr.Discard(), conn), accept)
			if err != nil {
				t.Error(err)
				return
			}
		} else if _, err := httpstream.Handshake(r, w, []string{portforward.PortForwardProtocolV1Name}); err != nil {
			return
		} else if connection = spdy.NewResponseUpgrader().UpgradeResponse(w, r, accept); connection == nil {
			return
		}
		defer connection.Close()
		serveForward(connection, streams)
	}))
	t.Cleanup(server.Close)

	cluster, err := Connect(ConnectOptions{Kubeconfig: writeConfig(t, trustedConfig(server), "{token: t}")}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return cluster
}

// serveForward serves one port-forward.
func serveForward(connection httpstream.Connection, streams <-chan httpstream.Stream) {
	failure, data := <-streams, <-streams
	if failure.Headers().Get("streamType") == "data" {
		failure, data = data, failure
	}
	if data.Headers().Get("port") == "99" {
		_, _ = io.WriteString(failure, "connection refused")
		_ = data.Reset()
		_ = failure.Reset()
	} else {
		_, _ = io.Copy(data, io.LimitReader(data, 1<<20))
		_ = failure.Close()
		_ = data.Close()
	}
	<-connection.CloseChan()
}

// TestPortForwardToSPDYStream forwards to another implementation of SPDY, and of WebSockets.
func TestPortForwardToSPDYStream(t *testing.T) {
	for name, refusesWebSocket := range map[string]bool{"WebSocket": false, "SPDY": true} {
		t.Run(name, func(t *testing.T) {
			cluster := kubeletServer(t, refusesWebSocket)
			conn, err := cluster.PortForward(t.Context(), "ns", "pod", 80, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()

			sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
			go send(conn, string(sent))
			if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("ReadAll = %d bytes, %v, want the %d that were sent", len(got), err, len(sent))
			}

			refused, err := cluster.PortForward(t.Context(), "ns", "pod", 99, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			defer refused.Close()
			if _, err = refused.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "connection refused") {
				t.Errorf("Read = %v, want the refusal", err)
			}
		})
	}
}

// TestVerifyWebSocket wants an error for each answer that does not agree to the WebSocket.
func TestVerifyWebSocket(t *testing.T) {
	// The example of RFC 6455, 1.3.
	const key, proof = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
	answer := func(status int, upgrade, accept, protocol string) error {
		response := &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody}
		response.Header.Set("Upgrade", upgrade)
		response.Header.Set("Sec-WebSocket-Accept", accept)
		response.Header.Set("Sec-WebSocket-Protocol", protocol)
		return verifyWebSocket(response, key, "chat")
	}

	if err := answer(101, "WebSocket", proof, "chat"); err != nil {
		t.Error(err)
	}
	for _, err := range []error{
		answer(200, "websocket", proof, "chat"), answer(101, "SPDY/3.1", proof, "chat"),
		answer(101, "websocket", "x"+proof, "chat"), answer(101, "websocket", proof, "superchat"),
		answer(101, "websocket", proof, ""),
	} {
		if err == nil {
			t.Error("agreed to a WebSocket that is none")
		}
	}
}

// piecewise is a connection on which some bytes arrive in pieces, with a deadline that passes
// before each.
type piecewise struct {
	net.Conn
	left  []byte
	piece int
	late  bool
}

func (p *piecewise) Read(b []byte) (int, error) {
	if p.late = !p.late; p.late {
		return 0, os.ErrDeadlineExceeded
	}
	if len(p.left) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.piece)], p.left)
	p.left = p.left[n:]
	return n, nil
}

func (p *piecewise) Write(b []byte) (int, error)     { return len(b), nil }
func (p *piecewise) Close() error                    { return nil }
func (p *piecewise) SetReadDeadline(time.Time) error { return nil }

// FuzzForwardReads wants no panic of anything that a server sends, an end, no more data than was
// sent, and the same whatever pieces it comes in.
func FuzzForwardReads(f *testing.F) {
	for _, script := range forwardScripts {
		whole := strings.Join(script.sent, "")
		f.Add([]byte(whole[:min(len(whole), 1<<10)]), byte(3), false)
		f.Add([]byte(serverMessage(wsBinary, whole[:min(len(whole), 1<<10)])), byte(7), true)
	}
	f.Add([]byte(serverMessage(wsPing, "x")+"\x02\x00\x80\x01x"), byte(1), true)

	read := func(sent []byte, piece int, isWebSocket bool) (data []byte, end string) {
		conn := &piecewise{left: sent, piece: piece}
		forwarded := newForwardedConn(newStreamConnection(&bufferedConn{conn, bufio.NewReaderSize(conn, upgradedBuffer)}, isWebSocket), "forward", 80)
		defer forwarded.Close()
		// An end that waits for the error stream depends on the clock.
		buffer := make([]byte, 100)
		for {
			n, err := forwarded.Read(buffer)
			data = append(data, buffer[:n]...)
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				return data, err.Error()
			}
		}
	}

	f.Fuzz(func(t *testing.T, sent []byte, piece byte, isWebSocket bool) {
		whole, wholeEnd := read(sent, max(len(sent), 1), isWebSocket)
		pieces, piecesEnd := read(sent, max(int(piece), 1), isWebSocket)
		if len(whole) > len(sent) || !bytes.Equal(whole, pieces) || wholeEnd != piecesEnd {
			t.Errorf("whole %q, %s; in pieces of %d %q, %s", whole, wholeEnd, piece, pieces, piecesEnd)
		}
	})
}
