package resumable

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// scriptedConn gives its input, and then nothing more until it is closed, or EOF at once.
type scriptedConn struct {
	net.Conn // nil: what is missing panics
	input    *bytes.Reader
	waits    bool
	closed   chan struct{}
}

func newScriptedConn(input []byte, waits bool) *scriptedConn {
	return &scriptedConn{input: bytes.NewReader(input), waits: waits, closed: make(chan struct{})}
}

func (c *scriptedConn) Read(p []byte) (int, error) {
	n, err := c.input.Read(p)
	if err != nil && c.waits {
		<-c.closed
	}
	return n, err
}

func (c *scriptedConn) Write(p []byte) (int, error) { return len(p), nil }
func (c *scriptedConn) SetDeadline(time.Time) error { return nil }
func (c *scriptedConn) Close() error                { close(c.closed); return nil }

// TestHostileFrames holds that what no honest peer sends ends the stream with a clear error.
func TestHostileFrames(t *testing.T) {
	ack := func(position uint64) string { return string(appendAck(nil, position, 0)) }
	for _, test := range []struct{ name, input, want string }{
		{"unknown type", "\x04\x00\x00\x00", "unknown type 4"},
		{"pace too short", "\x03\x00\x00\x03", "type 3 with length 3"},
		{"pace after the end", "\x02\x00\x00\x00" + string(appendPace(nil, 1<<16)), "type 3 after its end"},
		{"type 255", "\xff\xff\xff\xff", "unknown type 255"},
		{"data of no length", "\x00\x00\x00\x00", "type 0 with length 0"},
		{"data too long", "\x00\x01\x00\x01", "type 0 with length 65537"},
		{"ack too short", "\x01\x00\x00\x0b", "type 1 with length 11"},
		{"ack too long", "\x01\x00\x00\x0d", "type 1 with length 13"},
		{"end with length", "\x02\x00\x00\x01x", "type 2 with length 1"},
		{"ack of what was not sent", ack(6), "acknowledged 6 bytes, but only 5 were sent"},
		{"ack of everything", ack(1<<64 - 1), "acknowledged 18446744073709551615 bytes"},
		{"ack that goes back", ack(5) + ack(4), "acknowledged 4 bytes after 5"},
		{"data after the end", "\x02\x00\x00\x00\x00\x00\x00\x01x", "type 0 after its end"},
		{"two ends", "\x02\x00\x00\x00\x02\x00\x00\x00", "type 2 after its end"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, lost := New(Options{OnLost: func(err error) { t.Errorf("OnLost: %v", err) }}), newScriptedConn([]byte(test.input), true)
				_, _ = io.WriteString(s, "hello")
				s.Flush()
				if err := s.Resume(lost, 0); err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // hello is sent

				_, err := s.Read(make([]byte, 10))
				synctest.Wait()
				if errors.Is(err, io.EOF) { // the error came after the end
					_, err = s.Write(nil)
				}
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("error %v, want %q", err, test.want)
				}
				<-lost.closed
			})
		})
	}
}

// FuzzFrames gives a stream anything as its input: it must end in an error or wait, within bounds.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x05hello\x02\x00\x00\x00"), uint16(3))
	f.Add(appendAck([]byte("\x00\x00\x00\x01x"), 5, time.Second), uint16(700))
	f.Add([]byte("\x03\x00\x00\x00"), uint16(1))
	f.Fuzz(func(t *testing.T, input []byte, size uint16) {
		s, conn := New(Options{OnLost: func(error) {}}), newScriptedConn(input, false)
		s.options.OnLost = func(error) { s.Fail(io.ErrClosedPipe) }
		_, _ = io.WriteString(s, "hello")
		s.Flush()
		if err := s.Resume(conn, 0); err != nil {
			t.Fatal(err)
		}

		read, buffer := 0, make([]byte, int(size)+1)
		for {
			n, err := s.Read(buffer)
			read += n
			if err != nil {
				break
			}
		}
		if read > len(input) || s.Received() < uint64(read) || s.Received() > uint64(read)+1 {
			t.Errorf("read %d of %d bytes, Received is %d", read, len(input), s.Received())
		}
		_ = s.Close()
		<-conn.closed
	})
}
