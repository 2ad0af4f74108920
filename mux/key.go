// Package mux is the link between the laptop and the manager in the pod: pinned
// TLS, requests and events, one stream for each connection, and the loop that
// passes a connection on. SPEC.md writes the wire down.
package mux

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const pemType = "PRIVATE KEY" // PKCS #8, RFC 7468 section 10

// LoadKey reads the user's ed25519 key from a file, and makes the file with a
// new key, readable by its owner alone, when there is none. Of two processes
// that make it at once, both get the key that stays.
func LoadKey(file string) (ed25519.PrivateKey, error) {
	key, err := readKey(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err = writeNewKey(file); err != nil {
		return nil, fmt.Errorf("make key file: %w", err)
	}
	return readKey(file)
}

// PublicText is a key's public half in base64 (RFC 4648, unpadded): 43
// characters.
func PublicText(key ed25519.PrivateKey) string {
	public, _ := key.Public().(ed25519.PublicKey)
	return base64.RawStdEncoding.EncodeToString(public)
}

// NewKey makes a key that is kept nowhere.
func NewKey() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}

func readKey(file string) (ed25519.PrivateKey, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}

	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemType {
		return nil, fmt.Errorf("key file %s: no PEM block %q", file, pemType)
	}

	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", file, err)
	}

	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("key file %s: a %T, not an ed25519 key", file, parsed)
	}

	return key, nil
}

// writeNewKey makes the whole file under another name and links it, so that
// nobody reads half a key and the first of several wins.
func writeNewKey(file string) error {
	key, err := NewKey()
	if err != nil {
		return err
	}

	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err = os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}

	temp, err := os.CreateTemp(filepath.Dir(file), ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())

	err = pem.Encode(temp, &pem.Block{Type: pemType, Bytes: der})
	if closeErr := temp.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}

	if err = os.Link(temp.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		// No hard links here: a rename may replace another's key, once.
		return os.Rename(temp.Name(), file)
	}

	return nil
}
