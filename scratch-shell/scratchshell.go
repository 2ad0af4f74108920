// Package scratchshell carries the shell that kdiag runs in containers which have none: a static busybox ash, built by
// build.sh for the architecture that this program is built for.
package scratchshell

import (
	"bytes"
	"debug/elf"
	"errors"
	"io/fs"
)

// ErrMissing says that the program was built before the shell was.
var ErrMissing = errors.New("this build carries no shell: run 'make scratch-shell' and build again")

// ErrPlatform says that no shell is made for the system that this program is built for.
var ErrPlatform = errors.New("the scratch shell is for linux only, on amd64 and arm64")

// Binary returns a copy of the shell: an ELF executable, to be run with an argv[0] whose base name begins with "busybox"
// and the argv[1] "ash". The error is ErrMissing or ErrPlatform. Each call copies close to a megabyte.
func Binary() ([]byte, error) {
	if name == "" {
		return nil, ErrPlatform
	}
	return read(bin, name)
}

// read returns the named file, and ErrMissing unless it is an executable.
func read(fsys fs.FS, name string) ([]byte, error) {
	data, err := fs.ReadFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrMissing
	}
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(data, []byte(elf.ELFMAG)) {
		return nil, ErrMissing
	}
	return data, nil
}
