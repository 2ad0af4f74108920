// Package muxtest has test kit for sessions between laptop and manager: a slow network, and
// strangers at the manager's door.
package muxtest

import (
	"io"
	"net"
	"time"
)

// AddLatency returns a connection that leads to conn with a latency of half a round trip each way.
// It owns conn: when one is closed, so is the other.
func AddLatency(conn net.Conn, trip time.Duration) net.Conn {
	near, inner := net.Pipe()
	go CopyDelayed(conn, inner, trip/2)
	go CopyDelayed(inner, conn, trip/2)

	return near
}

// inFlight limits how many pieces may be on their way at once.
const inFlight = 4096

// CopyDelayed copies each piece that it reads a while later, and closes both when from has
// ended. It reads on meanwhile, because a network carries many pieces at once.
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
				pieces <- piece{nil, time.Now().Add(by)} // the end is delayed, too
				return
			}
		}
	}()

	for p := range pieces {
		time.Sleep(time.Until(p.due)) // this is the latency
		if p.bytes == nil {
			break
		}
		if _, err := to.Write(p.bytes); err != nil {
			break
		}
	}

	_ = to.Close()
	_ = from.Close()

	// The reader must not wait for somebody to take its pieces.
	for more := true; more; {
		_, more = <-pieces
	}
}
