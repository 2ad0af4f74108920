// Package muxtest is what a link has to bear: a long way between its ends, and
// strangers at the manager's door. It is for tests alone.
package muxtest

import (
	"io"
	"net"
	"time"
)

// AddLatency returns an end from which conn is half a round trip away, in both
// directions. It owns conn: the end of one is the end of the other.
func AddLatency(conn net.Conn, trip time.Duration) net.Conn {
	near, inner := net.Pipe()
	go CopyDelayed(conn, inner, trip/2)
	go CopyDelayed(inner, conn, trip/2)
	return near
}

// inFlight bounds the pieces that are on their way at once.
const inFlight = 4096

// CopyDelayed passes on what from gives, each piece after a while, and then closes
// to. It reads on meanwhile, as a network takes more while some is on its way.
func CopyDelayed(to io.WriteCloser, from io.ReadCloser, by time.Duration) {
	type piece struct {
		bytes []byte
		due   time.Time
	}
	pieces := make(chan piece, inFlight)

	go func() {
		defer close(pieces)
		buffer := make([]byte, 32<<10)
		for {
			n, err := from.Read(buffer)
			if n > 0 {
				pieces <- piece{append([]byte(nil), buffer[:n]...), time.Now().Add(by)}
			}
			if err != nil {
				pieces <- piece{nil, time.Now().Add(by)} // the end takes its time, too
				return
			}
		}
	}()

	for p := range pieces {
		time.Sleep(time.Until(p.due))
		if p.bytes == nil {
			break
		}
		if _, err := to.Write(p.bytes); err != nil {
			break
		}
	}

	_ = to.Close()

	// Nobody takes it any more: the reader must not wait for that.
	_ = from.Close()
	for more := true; more; {
		_, more = <-pieces
	}
}
