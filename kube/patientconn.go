package kube

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// patientConn tells a slow user from a dead server. client-go sets points in time: by then the
// server must have answered a ping, or taken what was written. But nobody reads the answer while
// a user does not take the output, and the server takes nothing while a command does not read its
// input. So here a deadline limits only how long a Read waits without any byte arriving, and none
// while a Write waits, as no ping is sent then. A connection that is dead ends the Write: the kernel
// gives up when nothing has been acknowledged for a quarter of an hour.
type patientConn struct {
	net.Conn
	patience atomic.Int64 // of a Read, in nanoseconds, or 0 for no limit
	writing  atomic.Int32
}

// SetReadDeadline sets how long each Read may wait. A time in the past ends the Read that waits.
func (c *patientConn) SetReadDeadline(t time.Time) error {
	if patience := time.Until(t); patience > 0 {
		c.patience.Store(int64(patience))
		return nil
	}

	c.patience.Store(0)
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline does nothing unless the time is over.
func (c *patientConn) SetWriteDeadline(t time.Time) error {
	if time.Until(t) > 0 {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline sets both.
func (c *patientConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *patientConn) Read(p []byte) (int, error) {
	for {
		patience := time.Duration(c.patience.Load())
		if patience > 0 {
			if err := c.Conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
				return 0, err
			}
		}

		n, err := c.Conn.Read(p)
		isLate := patience > 0 && n == 0 && errors.Is(err, os.ErrDeadlineExceeded)
		if !isLate || c.writing.Load() == 0 {
			return n, err
		}
	}
}

func (c *patientConn) Write(p []byte) (int, error) {
	c.writing.Add(1)
	defer c.writing.Add(-1)
	return c.Conn.Write(p)
}
