package mux

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/yamux"
)

// A frame of yamux begins with a header: version, type, flags, stream and length, in big endian
// (hashicorp/yamux, spec.md).
const (
	frameHeaderSize = 12
	frameTypeAt     = 1
	frameLengthAt   = 8

	frameData   = 0
	frameWindow = 1
)

// laneWindow is yamux's window of each stream, in bytes. It is so large that yamux never makes
// anybody wait: a connection's credit does, which is at most a quarter of it.
const laneWindow = 4 * maxWindow

// maxWindow bounds SessionOptions.Window, in bytes.
const maxWindow = 64 << 20

// streamsInFlight limits how many streams may be open but not yet accepted.
const streamsInFlight = 1024

// yamuxConfig turns off all of yamux's timeouts: a slow connection must not lose a stream to
// them. The resumable stream below finds out whether the peer is dead.
func yamuxConfig(o SessionOptions) *yamux.Config {
	const never = 365 * 24 * time.Hour
	return &yamux.Config{
		AcceptBacklog:          streamsInFlight,
		EnableKeepAlive:        false, // its pings queue behind the data, and it would end the session
		KeepAliveInterval:      never,
		ConnectionWriteTimeout: never, // a stream that waits for its turn would fail
		MaxStreamWindowSize:    laneWindow,
		StreamOpenTimeout:      0, // it would end the session
		StreamCloseTimeout:     0, // it would reset a stream that is open in one direction
		Logger:                 yamuxLogger{o.Log},
	}
}

// yamuxLogger writes yamux's messages to a slog.Logger.
type yamuxLogger struct{ log *slog.Logger }

func (l yamuxLogger) Print(v ...any)                 { l.log.Debug(fmt.Sprint(v...)) }
func (l yamuxLogger) Println(v ...any)               { l.log.Debug(fmt.Sprint(v...)) }
func (l yamuxLogger) Printf(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
