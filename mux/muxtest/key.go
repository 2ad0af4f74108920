package muxtest

import (
	"crypto/ed25519"
	"testing"

	"kdiag/mux"
)

// NewKey makes a key for a user or a manager.
func NewKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	key, err := mux.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}
