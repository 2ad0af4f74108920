package redirectserver

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"kdiag/applets/internal/pod/healthprobe"
	"kdiag/mux"
	"kdiag/mux/wire"
)

// maxLooks is how often one connection is looked at: one that comes byte by byte costs no more.
const maxLooks = 64

// peekBuffers are what first bytes are looked at in.
var peekBuffers = sync.Pool{New: func() any { return new([healthprobe.MaxBytes]byte) }}

// A classification looks at the first bytes of a connection until they say whether it is a health
// probe. It reads nothing: all bytes are still there for whoever the connection goes to.
type classification struct {
	probes   *healthprobe.Recognizer
	fromNode bool

	looks    int
	patience time.Duration // with what has come
	verdict  healthprobe.Verdict
	empty    bool // it has ended without a byte
	err      error
}

// classifyConnection returns what a connection is, once its first bytes or their absence say so.
// It decides by what has come once stopped is closed, after endClassification.
func classifyConnection(conn *mux.TCP, probes *healthprobe.Recognizer, fromNode bool, stopped <-chan struct{}) (c classification, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return c, err
	}

	c = classification{probes: probes, fromNode: fromNode, patience: probes.Patience(nil)}
	for {
		patience := c.patience
		err := c.wait(conn, raw, patience, stopped)
		switch {
		case c.err != nil:
			return c, c.err
		case errors.Is(err, os.ErrDeadlineExceeded):
			resumeReads(conn)
			return c, c.lookLast(raw)
		case err != nil:
			return c, err
		case c.verdict != healthprobe.Undecided:
			return c, nil
		}
	}
}

// wait looks at what comes, until it is decided, the time is up, or another time counts.
func (c *classification) wait(conn *mux.TCP, raw syscall.RawConn, patience time.Duration, stopped <-chan struct{}) error {
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if wire.IsClosed(stopped) {
		return os.ErrDeadlineExceeded
	}

	err := raw.Read(func(fd uintptr) bool {
		c.look(fd, c.looks >= maxLooks)
		return c.err != nil || c.verdict != healthprobe.Undecided || c.patience != patience
	})
	resumeReads(conn)
	return err
}

// endClassification ends the wait for more of a connection.
func endClassification(conn *mux.TCP) { _ = conn.SetReadDeadline(time.Unix(1, 0)) }

// resumeReads lets a connection be read again after that.
func resumeReads(conn *mux.TCP) { _ = conn.SetReadDeadline(time.Time{}) }

// lookLast decides by what has come when the time is up.
func (c *classification) lookLast(raw syscall.RawConn) error {
	err := raw.Control(func(fd uintptr) { c.look(fd, true) })
	return errors.Join(err, c.err)
}

// look judges what has come so far.
func (c *classification) look(fd uintptr, final bool) {
	buffer := peekBuffers.Get().(*[healthprobe.MaxBytes]byte)
	defer peekBuffers.Put(buffer)

	var n int
	var ended bool
	if n, ended, c.err = peekSocket(fd, buffer[:]); c.err != nil {
		return
	}

	c.looks++
	c.empty = n == 0 && ended
	c.patience = c.probes.Patience(buffer[:n])
	c.verdict = c.probes.Judge(healthprobe.Arrival{Bytes: buffer[:n], Ended: ended, FromNode: c.fromNode, Final: final})
}
