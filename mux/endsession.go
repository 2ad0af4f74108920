package mux

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
)

// ErrEndedElsewhere ends a session by EndSession.
var ErrEndedElsewhere = errors.New("another process of the laptop's has ended the session")

// Ticket names the session for EndSession.
func (s *Session) Ticket() string { return hex.EncodeToString(s.id[:]) }

// EndSession ends a session of the user's that another process has made: at the manager, as if its
// grace were over. own is the user's key, and hash the HashKey of the manager's. It owns conn, which
// leads to the manager, and closes it. A session that has ended already is no error.
func EndSession(ctx context.Context, conn net.Conn, own ed25519.PrivateKey, hash, ticket string) error {
	h := hello{kind: helloEnd}
	id, err := hex.DecodeString(ticket)
	if err != nil || len(id) != len(h.id) {
		_ = conn.Close()
		return fmt.Errorf("end a session: %.40q names none", ticket)
	}
	copy(h.id[:], id)

	ready, _, err := credential{own, hash}.join(ctx, conn, h)
	switch {
	case errors.Is(err, errUnknownSession):
		return nil
	case err != nil:
		return fmt.Errorf("end a session: %w", err)
	}
	return ready.Close()
}

// end ends the session that a laptop names, and closes the connection.
func (h *Host) end(conn net.Conn, said hello) error {
	h.mu.Lock()
	s := h.sessions[said.id]
	h.mu.Unlock()

	answer := byte(answerUnknown)
	if s != nil && s.ctx.Err() == nil {
		answer = answerAccepted
		s.endSession(ErrEndedElsewhere)
	}

	_, err := conn.Write(encodeAnswer(answer, 0))
	return errors.Join(err, conn.Close())
}
