package mux

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/yamux"
)

// streamsInFlight bounds the streams that were opened and not accepted yet.
const streamsInFlight = 1024

// yamuxConfig turns off each of yamux's clocks: a link that is merely slow
// must not lose a stream to them. The heartbeat is the judge of a dead peer.
func yamuxConfig(o SessionOptions) *yamux.Config {
	const never = 365 * 24 * time.Hour
	return &yamux.Config{
		AcceptBacklog:          streamsInFlight,
		EnableKeepAlive:        false, // its pings queue behind the data, and it ends the session then
		KeepAliveInterval:      never,
		ConnectionWriteTimeout: never, // else an error on a stream that waits its turn
		MaxStreamWindowSize:    o.Window,
		StreamOpenTimeout:      0, // would end the session
		StreamCloseTimeout:     0, // would reset a stream that still flows one way
		Logger:                 yamuxLogger{o.Log},
	}
}

// yamuxLogger leads yamux's lines into a slog.Logger.
type yamuxLogger struct{ log *slog.Logger }

func (l yamuxLogger) Print(v ...any)                 { l.log.Debug(fmt.Sprint(v...)) }
func (l yamuxLogger) Println(v ...any)               { l.log.Debug(fmt.Sprint(v...)) }
func (l yamuxLogger) Printf(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
