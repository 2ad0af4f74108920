// Package programs checks the programs that a user brings along to a shell, and sends them to the pod:
// into the memory of "kdiag enter --load", which hands them over to the shell there.
package programs

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"kdiag/applets"
	"kdiag/mux/wire"
)

// File is a program on this machine.
type File struct {
	wire.Program
	Path string
	// Arch is the architecture that it is for, in Go's words, or the ELF file's own name of it.
	Arch string
}

// ReadAll checks programs, at most wire.MaxPrograms. Each must be static, since it runs without any
// file of the pod's. Every error is a wrong usage.
func ReadAll(paths []string) ([]File, error) {
	var files []File
	for _, path := range paths {
		file, err := readFile(path)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(files, func(f File) bool { return f.Name == file.Name }) {
			return nil, applets.Usage("--with %s: another program has the name %s", path, file.Name)
		}
		files = append(files, file)
	}

	if len(files) > wire.MaxPrograms {
		return nil, applets.Usage("--with: %d programs are over the limit of %d", len(files), wire.MaxPrograms)
	}
	if TotalSize(files) > wire.MaxProgramSize {
		return nil, applets.Usage("--with: the programs are larger than %d MiB in all", wire.MaxProgramSize>>20)
	}

	return files, nil
}

// TotalSize returns the size of programs in bytes.
func TotalSize(files []File) (total int64) {
	for _, f := range files {
		total += f.Size
	}
	return total
}

// readFile checks one program.
func readFile(path string) (File, error) {
	name := filepath.Base(path)
	if !wire.IsProgramName(name) {
		return File{}, applets.Usage("--with %s: the file's name must have only letters, digits, '.', '_', '+' and '-'", path)
	}

	// Stat first: opening a pipe may wait for ever.
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return File{}, applets.Usage("--with %s: %w", path, withoutPath(err))
	case !info.Mode().IsRegular():
		return File{}, applets.Usage("--with %s: not a regular file", path)
	}

	file, err := os.Open(path)
	if err != nil {
		return File{}, applets.Usage("--with %s: %w", path, withoutPath(err))
	}
	defer file.Close()

	arch, err := checkStatic(file)
	if err != nil {
		return File{}, applets.WithHint(applets.Usage("--with %s: %w", path, err),
			"only static programs run in every container: build one with CGO_ENABLED=0 (Go), -static (C) or a musl target (Rust)")
	}

	sum := sha256.New()
	size, err := io.Copy(sum, io.NewSectionReader(file, 0, wire.MaxProgramSize+1))
	if err != nil {
		return File{}, applets.Usage("--with %s: %w", path, withoutPath(err))
	}

	return File{wire.Program{Name: name, Size: size, Sum: hex.EncodeToString(sum.Sum(nil))}, path, arch}, nil
}

// withoutPath returns the reason of an error of package os alone.
func withoutPath(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// checkStatic returns the architecture of a program for Linux that needs no other file to run.
func checkStatic(content io.ReaderAt) (arch string, err error) {
	file, err := elf.NewFile(content)
	if err != nil {
		start := make([]byte, 2)
		if _, readErr := content.ReadAt(start, 0); readErr == nil && string(start) == "#!" {
			return "", errors.New("it is a script, whose interpreter the pod may not have")
		}
		return "", errors.New("it is not a program for Linux (an ELF file)")
	}

	isProgram := file.Type == elf.ET_EXEC || file.Type == elf.ET_DYN && file.Entry != 0
	isLinux := file.OSABI == elf.ELFOSABI_NONE || file.OSABI == elf.ELFOSABI_LINUX
	switch {
	case !isProgram || !isLinux:
		return "", errors.New("it is not a program for Linux")
	case slices.ContainsFunc(file.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }):
		return "", errors.New("it is dynamically linked: it needs a loader and libraries, which the pod may not have")
	}
	if libraries, err := file.ImportedLibraries(); err == nil && len(libraries) > 0 {
		return "", fmt.Errorf("it is dynamically linked: it needs %s", libraries[0])
	}

	return nameArchitecture(file.Machine), nil
}

// nameArchitecture names a machine as Go and Kubernetes do.
func nameArchitecture(machine elf.Machine) string {
	switch machine {
	case elf.EM_X86_64:
		return "amd64"
	case elf.EM_AARCH64:
		return "arm64"
	}
	return machine.String()
}
