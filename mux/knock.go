package mux

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
)

// A manager sends a challenge to whoever connects, and the laptop answers with a knock, which
// proves that it holds the user's key. That costs the manager a fraction of TLS in time and
// memory. A knock answers one challenge and opens one connection, so it is useless to whoever
// overhears it.
const (
	challengeSize = prefaceSize + 32
	// KnockSize is the length of a knock, in bytes: the preface and a signature.
	KnockSize = prefaceSize + ed25519.SignatureSize
)

// newChallenge makes a random challenge.
func newChallenge() (challenge Challenge, err error) {
	copy(challenge[:], preface)
	challenge[len(preface)] = ProtocolVersion
	_, err = rand.Read(challenge[prefaceSize:])
	return challenge, err
}

// newKnock makes the answer to a challenge of the manager whose public key has the hash.
func newKnock(own ed25519.PrivateKey, hash []byte, challenge Challenge) []byte {
	knock := append(bytes.Clone(preface), ProtocolVersion)
	return append(knock, ed25519.Sign(own, signedPart(challenge, hash))...)
}

// signedPart returns what a knock signs. It includes the hash of the manager's key, so that a
// knock is useless at any other manager.
func signedPart(challenge Challenge, hash []byte) []byte { return append(challenge[:], hash...) }

// ErrNoKnock reports a peer that answers a challenge with something other than a knock.
var ErrNoKnock = errors.New("the peer is not kdiag")

// Door lets in nobody but the user's laptops. It is safe for concurrent use.
type Door struct {
	user    ed25519.PublicKey
	manager []byte // the hash of its public key
}

// NewDoor makes the door of the manager with the key own, for the user with the public key
// user, as PublicText writes it.
func NewDoor(own ed25519.PrivateKey, user string) (*Door, error) {
	public, err := base64.RawStdEncoding.DecodeString(user)
	if err != nil || len(public) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%q is not a user's public key", user)
	}

	key, _ := own.Public().(ed25519.PublicKey)
	hash := sha256.Sum256(key)
	return &Door{user: public, manager: hash[:]}, nil
}

// Challenge is a random text that a knock must sign. Each connection gets its own.
type Challenge [challengeSize]byte

// SendChallenge sends a new challenge to a connection that has just begun, whose buffer takes it
// without a wait.
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

// VerifyKnock reads the knock that answers a challenge, and nothing after it. It returns an
// error as soon as it knows that the peer is not one of the user's laptops. It sets no
// deadline.
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

// beginsKnock reports whether a knock of this version may begin with these bytes.
func beginsKnock(have []byte) bool {
	n := min(len(have), len(preface))
	return bytes.Equal(have[:n], preface[:n]) && (len(have) == n || have[n] == ProtocolVersion)
}

// knocker is the laptop's connection to a manager. It sends the knock together with the first
// Write, which begins TLS.
type knocker struct {
	net.Conn
	knock    []byte
	answered atomic.Bool // the manager has answered the knock
}

// hearChallenge waits for a manager's challenge, and prepares the knock that answers it.
func hearChallenge(conn net.Conn, own ed25519.PrivateKey, hash string) (*knocker, error) {
	manager, err := base64.RawStdEncoding.DecodeString(hash)
	if err != nil || len(manager) != sha256.Size {
		return nil, fmt.Errorf("%q is not the hash of a manager's key", hash)
	}

	var challenge Challenge
	n, err := io.ReadFull(conn, challenge[:])
	if err != nil && n == 0 {
		return nil, &TurnedAwayError{Err: err}
	}

	// A challenge of another version may have another length.
	if n >= prefaceSize {
		if versionErr := readPreface(bytes.NewReader(challenge[:n])); versionErr != nil {
			return nil, versionErr
		}
	}
	if err != nil {
		return nil, explainCut("read the manager's challenge", err)
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

// TurnedAwayError reports a connection that ended during the knock: the manager rejected it, or
// had no time for it, or is gone.
type TurnedAwayError struct {
	Err     error
	knocked bool // it ended after the knock
}

func (e *TurnedAwayError) Error() string {
	switch {
	case e.knocked && (isCut(e.Err) || errors.Is(e.Err, syscall.ECONNRESET)):
		return "the manager rejected this user's key, or the connection was cut"
	case isCut(e.Err):
		return "the connection was cut before the manager said anything"
	}
	return "the connection failed before the manager answered: " + e.Err.Error()
}

func (e *TurnedAwayError) Unwrap() error { return e.Err }
