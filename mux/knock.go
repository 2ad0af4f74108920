package mux

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
)

// A manager says a challenge to whoever connects, and the laptop answers it with
// a knock, which proves that it holds the user's key. That costs the manager a
// fraction of what TLS does, in time and in memory. A knock answers one
// challenge and opens one connection: whoever reads it can do nothing with it.
const (
	challengeSize = prefaceSize + 32
	// KnockSize is the length of a knock, in bytes: the preface and a signature.
	KnockSize = prefaceSize + ed25519.SignatureSize
)

// newChallenge makes a challenge that nobody has seen.
func newChallenge() (challenge Challenge, err error) {
	copy(challenge[:], preface)
	challenge[len(preface)] = Version
	_, err = rand.Read(challenge[prefaceSize:])
	return challenge, err
}

// newKnock answers a challenge of the manager whose public key has the hash.
func newKnock(own ed25519.PrivateKey, hash []byte, challenge Challenge) []byte {
	knock := append(bytes.Clone(preface), Version)
	return append(knock, ed25519.Sign(own, signedPart(challenge, hash))...)
}

// signedPart is what a knock's signature is of. A manager's challenge is of no
// use to another.
func signedPart(challenge Challenge, hash []byte) []byte { return append(challenge[:], hash...) }

// ErrNoKnock is a peer that answers a challenge with something else.
var ErrNoKnock = errors.New("the peer is not kdiag")

// Door tells the user's laptops from anybody else. It is safe for concurrent
// use.
type Door struct {
	user    ed25519.PublicKey
	manager []byte // the hash of its public key
}

// NewDoor makes the door of the manager with the key own, for the user whose
// public key, as PublicText writes it, is user.
func NewDoor(own ed25519.PrivateKey, user string) (*Door, error) {
	public, err := base64.RawStdEncoding.DecodeString(user)
	if err != nil || len(public) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%q is not a user's public key", user)
	}
	key, _ := own.Public().(ed25519.PublicKey)
	hash := sha256.Sum256(key)
	return &Door{user: public, manager: hash[:]}, nil
}

// Challenge is what a door has said to one connection.
type Challenge [challengeSize]byte

// SendChallenge says a new challenge to a connection that has just begun, which
// takes it without a wait.
func (d *Door) SendChallenge(conn io.Writer) (Challenge, error) {
	challenge, err := newChallenge()
	if err != nil {
		return challenge, err
	}
	if _, err := conn.Write(challenge[:]); err != nil {
		return challenge, fmt.Errorf("write a challenge: %w", err)
	}
	return challenge, nil
}

// VerifyKnock reads the knock that answers a challenge, and nothing after it. The error
// says why the peer is none of the user's laptops. It returns as soon as that
// is known, and sets no deadline.
func (d *Door) VerifyKnock(conn io.Reader, challenge Challenge) error {
	knock := make([]byte, KnockSize)
	for have := 0; have < len(knock); {
		n, err := conn.Read(knock[have:])
		have += n
		if !beginsKnock(knock[:have]) {
			return ErrNoKnock
		}
		if err != nil && have < len(knock) {
			return fmt.Errorf("read the answer to a challenge: %w", forbidEOF(err))
		}
	}

	if !ed25519.Verify(d.user, signedPart(challenge, d.manager), knock[prefaceSize:]) {
		return ErrWrongKey
	}

	return nil
}

// beginsKnock reports whether a knock of this version may begin like that.
func beginsKnock(have []byte) bool {
	n := min(len(have), len(preface))
	return bytes.Equal(have[:n], preface[:n]) && (len(have) == n || have[n] == Version)
}

// knocker is the laptop's connection. It sends the knock together with what is
// written first, which is the beginning of TLS.
type knocker struct {
	net.Conn
	knock    []byte
	answered atomic.Bool
}

// hearChallenge waits for a manager's challenge, and prepares the answer.
func hearChallenge(ctx context.Context, conn net.Conn, own ed25519.PrivateKey, hash string) (*knocker, error) {
	manager, err := base64.RawStdEncoding.DecodeString(hash)
	if err != nil || len(manager) != sha256.Size {
		return nil, fmt.Errorf("%q is not the hash of a manager's key", hash)
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()

	var challenge Challenge
	n, err := io.ReadFull(conn, challenge[:])
	if err != nil && n == 0 {
		return nil, &TurnedAwayError{err}
	}
	if versionErr := readPreface(bytes.NewReader(challenge[:n])); versionErr != nil {
		return nil, versionErr
	}
	if err != nil {
		return nil, fmt.Errorf("read the manager's challenge: %w", forbidEOF(err))
	}

	return &knocker{Conn: conn, knock: newKnock(own, manager, challenge)}, nil
}

func (k *knocker) Write(p []byte) (int, error) {
	if k.knock == nil {
		return k.Conn.Write(p)
	}
	before := len(k.knock)
	n, err := k.Conn.Write(append(k.knock, p...))
	k.knock = nil
	return max(n-before, 0), err
}

func (k *knocker) Read(p []byte) (int, error) {
	n, err := k.Conn.Read(p)
	if n > 0 {
		k.answered.Store(true)
	}
	return n, err
}

// TurnedAwayError is a connection that ended before the manager knew whose it
// was, or because of it; or there is no manager.
type TurnedAwayError struct{ Err error }

func (e *TurnedAwayError) Error() string {
	return "the manager rejected the connection: " + e.Err.Error()
}

func (e *TurnedAwayError) Unwrap() error { return e.Err }
