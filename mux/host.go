package mux

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"net"
	"sync"

	"github.com/hashicorp/yamux"
)

// Host keeps a manager's sessions, so that a laptop which has lost its connection can go on with
// its session on another one. It is safe for concurrent use.
type Host struct {
	tls *tls.Config

	mu       sync.Mutex
	sessions map[sessionID]*Session
}

// NewHost makes the host of the manager with the key own, for the user with the public key user, as
// PublicText writes it.
func NewHost(own ed25519.PrivateKey, user string) (*Host, error) {
	config, err := ServerTLS(own, user)
	if err != nil {
		return nil, err
	}
	return &Host{tls: config, sessions: map[sessionID]*Session{}}, nil
}

// Receive takes a connection on which a Door has verified the knock. It returns the new session
// that the connection begins, or nil if a session that is there goes on with it, or was ended by it. It owns conn from
// then on, and closes it if it fails. ctx limits only how long Receive may take.
func (h *Host) Receive(ctx context.Context, conn net.Conn, o SessionOptions) (*Session, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()

	s, err := h.receive(ctx, newTLSConn(&readAhead{conn, bufio.NewReaderSize(conn, recordsBuffer)}, h.tls, tls.Server), o)
	if err != nil {
		_ = conn.Close()
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
	}
	return s, err
}

func (h *Host) receive(ctx context.Context, conn *tlsConn, o SessionOptions) (*Session, error) {
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, explainCut("TLS", err)
	}

	said, err := readHello(conn)
	if err != nil {
		return nil, explainCut("read the laptop's hello", err)
	}

	switch said.kind {
	case helloResume:
		return nil, h.resume(conn, said)
	case helloEnd:
		return nil, h.end(conn, said)
	}
	return h.begin(ctx, conn, said.id, o)
}

var errSameSession = errors.New("a session with this ID is there already")

// begin makes a new session.
func (h *Host) begin(ctx context.Context, conn net.Conn, id sessionID, o SessionOptions) (*Session, error) {
	s := newSession(id, o)
	s.opens = true
	if !h.add(s) {
		_ = s.link.Close()
		s.cancel(errSameSession)
		return nil, errSameSession
	}

	_, err := conn.Write(encodeAnswer(answerAccepted, 0))
	if err == nil {
		err = s.begin(ctx, conn, 0, yamux.Server, s.acceptControl)
	}
	if err != nil {
		_ = s.link.Close()
		s.cancel(err)
		h.remove(s)
		return nil, err
	}

	context.AfterFunc(s.ctx, func() { h.remove(s) })
	return s, nil
}

// resume lets a session go on with another connection, in place of the one that it has, if any.
func (h *Host) resume(conn net.Conn, said hello) error {
	h.mu.Lock()
	s := h.sessions[said.id]
	h.mu.Unlock()
	if s == nil || s.ctx.Err() != nil {
		_, _ = conn.Write(encodeAnswer(answerUnknown, 0))
		return errUnknownSession
	}

	s.resuming.Lock()
	defer s.resuming.Unlock()
	s.link.Detach()
	s.handleLost(errReplaced)
	if _, err := conn.Write(encodeAnswer(answerAccepted, s.link.Received())); err != nil {
		return err
	}
	if err := s.resume(conn, said.received); err != nil {
		go s.endSession(err)
		return err
	}
	return nil
}

// errReplaced says why a connection went that the manager held for alive.
var errReplaced = errors.New("the laptop came back on another connection")

// add adds a session, unless there is one with its ID.
func (h *Host) add(s *Session) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sessions[s.id] != nil {
		return false
	}
	h.sessions[s.id] = s
	return true
}

func (h *Host) remove(s *Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.sessions, s.id)
}
