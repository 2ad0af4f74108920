// Package mux is the link between the laptop and the manager in the pod: pinned
// TLS, requests and events, one stream for each connection, and the loop that
// passes a connection on. SPEC.md writes the wire down.
package mux

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
)

// NewKey makes a key that is kept nowhere.
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
