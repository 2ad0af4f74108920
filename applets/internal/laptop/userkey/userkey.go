// Package userkey keeps the key by which a user's containers are told from other
// people's, in a file of the user's configuration directory.
package userkey

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"kdiag/mux"
)

const pemType = "PRIVATE KEY" // PKCS #8, RFC 7468 section 10

// Load reads the user's ed25519 key from a file, and makes the file with a
// new key, readable by its owner alone, when there is none. Of two processes
// that make it at once, both get the key that stays.
func Load(file string) (ed25519.PrivateKey, error) {
	key, err := read(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err = writeNewKey(file); err != nil {
		return nil, fmt.Errorf("make key file: %w", err)
	}
	return read(file)
}

// read reads a key file.
func read(file string) (ed25519.PrivateKey, error) {
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
	key, err := mux.NewKey()
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
