// Package userkey keeps the key by which a user's containers are told from other
// people's, in a file of the user's configuration directory.
package userkey

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"kdiag/applets/internal/laptop/slowfiles"
	"kdiag/mux"
)

const pemType = "PRIVATE KEY" // PKCS #8, RFC 7468 section 10

// Load reads the user's ed25519 key, and makes the file with a new key when
// there is none. An error says why the user has no key that stays.
func Load() (ed25519.PrivateKey, error) {
	file, err := keyFile()
	if err != nil {
		return nil, err
	}
	return loadFile(file)
}

// PublicHalf returns the public half of the user's key, as mux.PublicText
// writes it; empty where there is no key yet. It makes none. It gives up when ctx ends.
func PublicHalf(ctx context.Context) (string, error) {
	file, err := keyFile()
	if err != nil {
		return "", nil //nolint:nilerr // no place for a key, so no key
	}

	key, err := slowfiles.Read(ctx, "key file "+file, func() (ed25519.PrivateKey, error) { return readFile(file) })
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", err
	}

	return mux.PublicText(key), nil
}

func keyFile() (string, error) {
	directory, err := os.UserConfigDir()
	return filepath.Join(directory, "kdiag", "key.pem"), err
}

// loadFile reads a key file, and makes it, readable by its owner alone, when
// there is none. If two processes create it at once, both return
// the same key.
func loadFile(file string) (ed25519.PrivateKey, error) {
	key, err := readFile(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err = writeNewKey(file); err != nil {
		return nil, fmt.Errorf("make key file: %w", err)
	}
	return readFile(file)
}

// maxKeyFile limits the size of a key file that is read, in bytes.
const maxKeyFile = 64 << 10

func readFile(file string) (ed25519.PrivateKey, error) {
	text, err := readRegular(file)
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

// readRegular reads the beginning of a file, unless that is a pipe or a device: to open one may take
// for ever.
func readRegular(name string) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("key file %s: not a regular file", name)
	}

	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()

	return io.ReadAll(io.LimitReader(file, maxKeyFile))
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
