// Package mux connects the laptop with the manager in the pod: TLS with pinned keys, requests and
// events, a stream for each redirected connection, and the loop that copies a connection's bytes.
// SPEC.md specifies the protocol.
package mux

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
)

// NewKey makes a random key. It stores it nowhere.
func NewKey() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}

// PublicText returns a key's public half in base64 (RFC 4648, unpadded): 43
// characters.
func PublicText(key ed25519.PrivateKey) string {
	public, _ := key.Public().(ed25519.PublicKey)
	return base64.RawStdEncoding.EncodeToString(public)
}

// HashKey returns the SHA-256 of a public key in base64 (RFC 4648, unpadded),
// by which the laptop pins its manager.
func HashKey(public ed25519.PublicKey) string {
	sum := sha256.Sum256(public)
	return base64.RawStdEncoding.EncodeToString(sum[:])
}
