package mux

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// newDoor makes a manager's door, with the user's key and the hash of the manager's.
func newDoor(t testing.TB) (door *Door, user ed25519.PrivateKey, hash string) {
	t.Helper()
	user, manager := newKey(t), newKey(t)
	public, _ := manager.Public().(ed25519.PublicKey)
	door, err := NewDoor(manager, PublicText(user))
	if err != nil {
		t.Fatal(err)
	}
	return door, user, HashKey(public)
}

// challenged lets a door challenge a peer that sends what answer returns, and then waits.
func challenged(t testing.TB, door *Door, answer func(Challenge) []byte) (far net.Conn, err error) {
	t.Helper()
	near, far := tcpPair(t)
	_ = far.SetDeadline(time.Now().Add(patience))
	judged := make(chan error, 1)
	said, err := door.SendChallenge(far)
	if err != nil {
		t.Fatal(err)
	}

	go func() { judged <- door.VerifyKnock(far, said) }()

	var challenge Challenge
	if _, err := io.ReadFull(near, challenge[:]); err != nil {
		t.Fatal(err)
	}
	if _, err := near.Write(answer(challenge)); err != nil {
		t.Fatal(err)
	}

	return far, <-judged
}

// TestKnock wants the holder of the user's key let in, and a reason why others are not.
func TestKnock(t *testing.T) {
	door, user, _ := newDoor(t)
	right := func(challenge Challenge) []byte { return newKnock(user, door.manager, challenge) }
	var seen []byte
	far, err := challenged(t, door, func(challenge Challenge) []byte {
		seen = right(challenge)
		return append(bytes.Clone(seen), "and on"...)
	})
	if err != nil {
		t.Fatalf("Challenge = %v", err)
	}

	rest := make([]byte, len("and on"))
	if _, err := io.ReadFull(far, rest); err != nil || string(rest) != "and on" {
		t.Errorf("after the knock: %q, %v", rest, err)
	}

	another, _, _ := newDoor(t)
	stranger := newKey(t)
	for what, answer := range map[string]func(Challenge) []byte{
		"a knock that was used": func(Challenge) []byte { return seen },
		"another key":           func(challenge Challenge) []byte { return newKnock(stranger, door.manager, challenge) },
		"another manager":       func(challenge Challenge) []byte { return newKnock(user, another.manager, challenge) },
		"a changed signature":   func(challenge Challenge) []byte { return changed(right(challenge), KnockSize-1) },
		"the challenge":         func(challenge Challenge) []byte { return append(challenge[:], make([]byte, KnockSize)...) },
	} {
		if _, err := challenged(t, door, answer); !errors.Is(err, ErrWrongKey) {
			t.Errorf("%s: %v, want ErrWrongKey", what, err)
		}
	}

	for _, said := range []string{"GET / HTTP/1.0\r\n\r\n", "k8s", "kdiag\x00\x00\x03", "\x16\x03\x01", strings.Repeat("\x00", KnockSize)} {
		if _, err := challenged(t, door, func(Challenge) []byte { return []byte(said) }); !errors.Is(err, ErrNoKnock) {
			t.Errorf("%q: %v, want ErrNoKnock at once", said, err)
		}
	}
}

// changed returns a copy of b with one byte changed.
func changed(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at]++
	return b
}

// TestKnockGoesWithTLS wants the knock and the beginning of TLS in a single Write, which saves
// a frame.
func TestKnockGoesWithTLS(t *testing.T) {
	near, far := tcpPair(t)
	_, user, hash := newDoor(t)
	made := make(chan error, 1)
	counted := newWriteCount(-1)
	counted.Conn = near
	go func() {
		_, err := Client(t.Context(), counted, user, hash, SessionOptions{})
		made <- err
	}()

	challenge, err := newChallenge()
	if err != nil {
		t.Fatal(err)
	}

	_, _ = far.Write(challenge[:])
	got := make([]byte, KnockSize+1)
	const tlsHandshake = 22 // RFC 8446, 5.1
	if _, err := io.ReadFull(far, got); err != nil || !bytes.HasPrefix(got, preface) || got[KnockSize] != tlsHandshake {
		t.Errorf("read %q, %v, want a knock and TLS", got, err)
	}
	if n := counted.n.Load(); n != 1 {
		t.Errorf("they took %d writes, want 1", n)
	}

	_ = far.Close()
	var away *TurnedAwayError
	if err := <-made; !errors.As(err, &away) {
		t.Errorf("Client without an answer = %v, want a TurnedAwayError", err)
	}
}

// TestBadChallenges connects to things that are not a manager.
func TestBadChallenges(t *testing.T) {
	_, user, hash := newDoor(t)
	client := func(ctx context.Context, said string) error {
		near, far := tcpPair(t)
		_, _ = far.Write([]byte(said))
		if said != "" {
			_ = far.CloseWrite()
		}
		_, err := Client(ctx, near, user, hash, SessionOptions{})
		return err
	}

	var version *VersionError
	if err := client(t.Context(), "kdiag\x00\x00\x09 and what that one says"); !errors.As(err, &version) || version.PeerIsOlder() {
		t.Errorf("a newer manager: %v, want a VersionError", err)
	}

	for _, said := range []string{"kdiag\x00\x00\x02 too short", "kdi", "SSH-2.0-OpenSSH_9.2\r\n" + strings.Repeat("x", 99)} {
		var away *TurnedAwayError
		if err := client(t.Context(), said); err == nil || errors.As(err, &away) {
			t.Errorf("%q: %v, want an error that says so", said, err)
		}
	}

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := client(ctx, ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one that says nothing: %v, want the deadline", err)
	}
}

// TestBadKeys wants no knock made for a malformed hash of a manager, and no door for a
// malformed user.
func TestBadKeys(t *testing.T) {
	for _, text := range []string{"", "AAAA", "no base64", strings.Repeat("A", 44)} {
		if _, err := NewDoor(newKey(t), text); err == nil {
			t.Errorf("NewDoor(%q) = nil", text)
		}
		near, _ := tcpPair(t)
		if _, err := Client(t.Context(), near, newKey(t), text, SessionOptions{}); err == nil {
			t.Errorf("Client(%q) = nil", text)
		}
	}
}

// TestCheckVersion compares versions as the laptop does before it dials.
func TestCheckVersion(t *testing.T) {
	if err := CheckPeerVersion(ProtocolVersion); err != nil {
		t.Errorf("the same version: %v", err)
	}
	for theirs, older := range map[byte]bool{0: true, 1: true, ProtocolVersion + 1: false} {
		var version *VersionError
		if err := CheckPeerVersion(theirs); !errors.As(err, &version) || version.PeerIsOlder() != older {
			t.Errorf("protocol %d: %v, want a VersionError, older: %t", theirs, err, older)
		}
	}
}

// FuzzKnock sends anything at all to a door.
func FuzzKnock(f *testing.F) {
	door, user, _ := newDoor(f)
	challenge, err := newChallenge()
	if err != nil {
		f.Fatal(err)
	}

	knock := newKnock(user, door.manager, challenge)
	f.Add(knock)
	f.Add(knock[:40])
	f.Add(append(bytes.Clone(knock), knock...))
	f.Add([]byte("\x16\x03\x01"))
	f.Fuzz(func(t *testing.T, said []byte) {
		if err := door.VerifyKnock(bytes.NewReader(said), challenge); err == nil && !bytes.HasPrefix(said, knock) {
			t.Errorf("%q was let in", said)
		}
	})
}
