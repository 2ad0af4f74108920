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
	"time"

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
	return loadFile(file, os.Link)
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
func loadFile(file string, link linker) (ed25519.PrivateKey, error) {
	key, err := readWhole(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err = writeNewKey(file, link); err != nil {
		return nil, fmt.Errorf("make key file: %w", err)
	}
	return readWhole(file)
}

// linker makes a hard link, as os.Link does. Some file systems have none.
type linker func(from, to string) error

// errEmpty reports a key file without a key, which another process may be about to write.
var errEmpty = errors.New("the file is empty")

// These limit the wait for another process that writes a key.
const (
	writeTime = time.Second
	writeLook = 5 * time.Millisecond
)

// readWhole reads a key file. It waits a moment for one that is being written.
func readWhole(file string) (ed25519.PrivateKey, error) {
	for range writeTime / writeLook {
		key, err := readFile(file)
		if !errors.Is(err, errEmpty) {
			return key, err
		}
		time.Sleep(writeLook)
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

	if len(text) == 0 {
		return nil, fmt.Errorf("key file %s: %w", file, errEmpty)
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
func writeNewKey(file string, link linker) error {
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

	text := pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der})
	_, err = temp.Write(text)
	if closeErr := temp.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}

	if err = link(temp.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		return createFile(file, text)
	}

	return nil
}

// createFile writes a file where there are no hard links, unless somebody else is first. The text
// comes in one write, so others see an empty file or all of it.
func createFile(name string, text []byte) error {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}

	_, err = file.Write(text)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = os.Remove(name)
	}
	return err
}
