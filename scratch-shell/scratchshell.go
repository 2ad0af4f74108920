// Package scratchshell carries the shell that kdiag runs in containers that have
// none: a static busybox ash, which build.sh builds for each architecture.
package scratchshell

import (
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"io/fs"
)

// ErrMissing reports that this program was built before the shell was.
var ErrMissing = errors.New("this build has no shell in it: run 'make scratch-shell' and build again")

// ErrPlatform reports that there is no shell for this program's platform.
var ErrPlatform = errors.New("the scratch shell supports only linux/amd64 and linux/arm64")

// Binary returns a copy of the shell, an ELF executable. Run it with an argv[0] whose
// base name begins with "busybox", and with "ash" as argv[1]. The error is ErrMissing
// or ErrPlatform. Each call copies about a megabyte.
func Binary() ([]byte, error) {
	program, err := Open()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(program)
}

// Open returns a reader of what Binary returns, with the same errors. The reader
// needs no Close.
func Open() (io.Reader, error) {
	if shellFile == "" {
		return nil, ErrPlatform
	}
	return openExecutable(embedded, shellFile)
}

// openExecutable opens the named file. It returns ErrMissing for a file that is not
// an ELF executable, as the placeholder is not.
func openExecutable(fsys fs.FS, name string) (io.Reader, error) {
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
