package kube

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// newPatientPair returns a patientConn and the server's end of it.
func newPatientPair(t *testing.T) (*patientConn, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return &patientConn{Conn: near}, far
}

// TestPatientConnWaitsForItsUser reads nothing for an hour, though the server must have answered
// within a minute.
func TestPatientConnWaitsForItsUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, server := newPatientPair(t)
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		go func() { _, _ = server.Write([]byte("pong")) }()
		time.Sleep(time.Hour) // the user reads nothing

		answer := make([]byte, 4)
		if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "pong" {
			t.Errorf("Read = %q, %v, want pong", answer, err)
		}
	})
}

// TestPatientConnWaitsForTheCommand writes what the server takes only after an hour.
func TestPatientConnWaitsForTheCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, server := newPatientPair(t)
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		_ = conn.SetWriteDeadline(time.Now().Add(time.Minute))
		read, written := make(chan error, 1), make(chan error, 1)
		go func() { _, err := conn.Write([]byte("input")); written <- err }()
		go func() { _, err := conn.Read(make([]byte, 1)); read <- err }()

		time.Sleep(time.Hour) // the command reads nothing
		if _, err := io.ReadFull(server, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		if err := <-written; err != nil {
			t.Errorf("Write = %v, want no error", err)
		}

		go func() { _, _ = server.Write([]byte("x")) }()
		if err := <-read; err != nil {
			t.Errorf("Read = %v, want no error", err)
		}
	})
}

// TestPatientConnNoticesADeadServer ends a Read that waits for too long, and only then.
func TestPatientConnNoticesADeadServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, _ := newPatientPair(t)
		time.Sleep(time.Second)
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		time.Sleep(time.Hour)

		began := time.Now()
		_, err := conn.Read(make([]byte, 1))
		if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took != time.Minute {
			t.Errorf("Read = %v after %s, want a time-out after a minute", err, took)
		}

		_ = conn.SetDeadline(time.Unix(1, 0))
		if _, err = conn.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write = %v, want a time-out at once", err)
		}
		if _, err = conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read = %v, want a time-out at once", err)
		}
	})
}
