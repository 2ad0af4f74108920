package mux

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// sessionID names a session, so that a new connection can go on with it. The laptop makes it at
// random.
type sessionID [16]byte

func newSessionID() (id sessionID, err error) {
	_, err = rand.Read(id[:])
	return id, err
}

// These say what a connection is for, and how the manager answers.
const (
	helloNew    = 0
	helloResume = 1
	helloEnd    = 2

	answerAccepted = 0
	answerUnknown  = 1 // there is no such session any more
)

const (
	helloSize  = prefaceSize + 8 + 16 + 8
	answerSize = prefaceSize + 8 + 8
)

// A hello is what the laptop sends first on each connection.
type hello struct {
	kind     byte
	id       sessionID
	received uint64 // bytes of the resumable stream that the laptop has
}

func (h hello) encode() []byte {
	b := append(bytes.Clone(preface), ProtocolVersion, h.kind, 0, 0, 0, 0, 0, 0, 0)
	b = append(b, h.id[:]...)
	return binary.BigEndian.AppendUint64(b, h.received)
}

// readHello reads a laptop's hello.
func readHello(r io.Reader) (hello, error) {
	var b [helloSize]byte
	if err := readPrefaced(r, b[:]); err != nil {
		return hello{}, err
	}

	h := hello{kind: b[prefaceSize], received: binary.BigEndian.Uint64(b[helloSize-8:])}
	copy(h.id[:], b[prefaceSize+8:])
	if h.kind > helloEnd {
		return hello{}, fmt.Errorf("hello of an unknown kind: %d", h.kind)
	}
	return h, nil
}

// encodeAnswer encodes what the manager answers: received counts the bytes of the resumable stream
// that it has.
func encodeAnswer(kind byte, received uint64) []byte {
	b := append(bytes.Clone(preface), ProtocolVersion, kind, 0, 0, 0, 0, 0, 0, 0)
	return binary.BigEndian.AppendUint64(b, received)
}

// errUnknownSession ends a session that the manager has given up.
var errUnknownSession = errors.New("the manager has given up the session: its connection was gone for too long, or the manager was restarted")

// readAnswer reads a manager's answer and returns how many bytes it has.
func readAnswer(r io.Reader) (received uint64, err error) {
	var b [answerSize]byte
	if err := readPrefaced(r, b[:]); err != nil {
		return 0, err
	}

	switch b[prefaceSize] {
	case answerAccepted:
		return binary.BigEndian.Uint64(b[answerSize-8:]), nil
	case answerUnknown:
		return 0, errUnknownSession
	}
	return 0, fmt.Errorf("answer of an unknown kind: %d", b[prefaceSize])
}

// readPrefaced fills b, which begins with the preface. It returns a *VersionError if the version
// differs.
func readPrefaced(r io.Reader, b []byte) error {
	if err := readPreface(r); err != nil {
		return err
	}
	_, err := io.ReadFull(r, b[prefaceSize:])
	return forbidEOF(err)
}

// A credential is what a laptop needs to connect to its manager: its own key, and the hash of the
// manager's.
type credential struct {
	own  ed25519.PrivateKey
	hash string
}

// join makes a connection ready for a session: it answers the manager's challenge, sets up TLS, and
// says hello. It returns how many bytes of the resumable stream the manager has. It closes conn if
// it fails, or if ctx ends meanwhile.
func (c credential) join(ctx context.Context, conn net.Conn, h hello) (ready net.Conn, received uint64, err error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()

	ready, received, err = c.joinUnbounded(ctx, conn, h)
	if err == nil && stop() {
		return ready, received, nil
	}

	_ = conn.Close()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("the manager did not answer in time: %w", err)
	}
	return nil, 0, err
}

// joinUnbounded is join, but closes nothing.
func (c credential) joinUnbounded(ctx context.Context, conn net.Conn, h hello) (ready net.Conn, received uint64, err error) {
	config, err := ClientTLS(c.own, c.hash)
	if err != nil {
		return nil, 0, err
	}

	knocking, err := hearChallenge(conn, c.own, c.hash)
	if err != nil {
		return nil, 0, err
	}

	received, secured, err := sayHello(ctx, newTLSConn(knocking, config, tls.Client), h)
	// A manager that rejects the knock closes the connection without an answer.
	if err != nil && !knocking.answered.Load() {
		err = &TurnedAwayError{err, true}
	}
	return secured, received, err
}

// sayHello does the handshake of TLS, and exchanges hello and answer.
func sayHello(ctx context.Context, conn *tlsConn, h hello) (received uint64, same net.Conn, err error) {
	if err := conn.HandshakeContext(ctx); err != nil {
		return 0, nil, explainCut("TLS", err)
	}
	if _, err := conn.Write(h.encode()); err != nil {
		return 0, nil, explainCut("say hello to the manager", err)
	}

	received, err = readAnswer(conn)
	var alert *net.OpError // how crypto/tls reports the peer's alerts
	if errors.As(err, &alert) && alert.Op == "remote error" {
		return 0, nil, fmt.Errorf("the manager refused this user's key: %w", err)
	}
	return received, conn, explainCut("wait for the manager's answer", err)
}

// explainCut says in words that a connection was cut. Any other error speaks for itself.
func explainCut(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case isCut(err):
		return &cutError{doing, err}
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// isCut reports whether err says no more than that a connection is over.
func isCut(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// cutError reports a connection that was cut. Its cause says no more, and is not shown.
type cutError struct {
	doing string
	cause error
}

func (e *cutError) Error() string { return e.doing + ": the connection was cut" }

func (e *cutError) Unwrap() error { return e.cause }
