// Package scratchshell carries the shell that kdiag runs in containers which have none: a static busybox ash, built by
// build.sh for the architecture that this program is built for.
package scratchshell

import (
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"io/fs"
)

// ErrMissing says that the program was built before the shell was.
var ErrMissing = errors.New("this build carries no shell: run 'make scratch-shell' and build again")

// ErrPlatform says that no shell is made for the system that this program is built for.
var ErrPlatform = errors.New("the scratch shell is for linux only, on amd64 and arm64")

// Binary returns a copy of the shell: an ELF executable, to be run with an argv[0] whose base name begins with "busybox"
// and the argv[1] "ash". The error is ErrMissing or ErrPlatform. Each call copies more than a megabyte.
func Binary() ([]byte, error) {
	program, err := Open()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(program)
}

// Open returns a reader of what Binary returns, with the same errors. There is nothing to close.
func Open() (io.Reader, error) {
	if name == "" {
		return nil, ErrPlatform
	}
	return open(bin, name)
}

// open returns a reader of the named file, and ErrMissing unless it is an executable.
func open(fsys fs.FS, name string) (io.Reader, error) {
	file, err := fsys.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrMissing
	}
	if err != nil {
		return nil, err
	}

	start := make([]byte, len(elf.ELFMAG))
	_, err = io.ReadFull(file, start)
	short := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	if err != nil && !short {
		return nil, err
	}
	if string(start) != elf.ELFMAG {
		return nil, ErrMissing
	}

	return io.MultiReader(bytes.NewReader(start), file), nil
}
