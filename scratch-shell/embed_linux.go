//go:build amd64 || arm64

package scratchshell

import (
	"embed"
	"errors"
	"io/fs"
)

// read returns the named file, and ErrMissing if there is none.
func read(bin embed.FS, name string) ([]byte, error) {
	data, err := bin.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrMissing
	}
	return data, err
}
