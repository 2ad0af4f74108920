package image

import (
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"strings"

	"kdiag/applets"
)

// module is the main module that the Go linker records in every kdiag.
const module = "kdiag"

// maxLoader bounds the path of the dynamic loader, in bytes: PATH_MAX of Linux.
const maxLoader = 4096

// executable holds what the headers of a file say about it.
type executable struct {
	platform platform
	// runs is set for a program, as opposed to a library or an object file.
	runs bool
	// loader is its dynamic loader; empty for a static program.
	loader string
	// module is its Go main module; empty if Go did not build it.
	module string
}

// readHeaders reads the headers of an ELF file.
func readHeaders(file io.ReaderAt) (executable, error) {
	headers, err := elf.NewFile(file)
	if err != nil {
		var format *elf.FormatError
		if errors.As(err, &format) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return executable{}, fmt.Errorf("not a Linux program: %w", err)
		}
		return executable{}, err
	}

	found := executable{
		platform: platform{"linux", elfArch(headers.FileHeader)},
		runs:     headers.Type == elf.ET_EXEC || headers.Type == elf.ET_DYN && headers.Entry != 0,
	}
	for _, part := range headers.Progs {
		if part.Type == elf.PT_INTERP {
			path, err := io.ReadAll(io.LimitReader(part.Open(), maxLoader))
			if err != nil {
				return executable{}, fmt.Errorf("dynamic loader's path: %w", err)
			}
			found.loader = strings.TrimRight(string(path), "\x00")
		}
	}

	// An error here only means that Go did not build the file.
	if info, err := buildinfo.Read(file); err == nil {
		found.module = info.Main.Path
		for _, setting := range info.Settings {
			if setting.Key == "GOOS" {
				found.platform.os = setting.Value
			}
		}
	}

	return found, nil
}

// checkFor returns an error if the file cannot be /kdiag in an image for target.
func (e executable) checkFor(target platform) error {
	switch {
	case e.module == "":
		return errors.New("not a kdiag: no Go build information found")
	case e.module != module:
		return fmt.Errorf("not a kdiag: its Go module is %q", e.module)
	case e.platform != target:
		return applets.WithHint(fmt.Errorf("built for %s, not for %s", e.platform, target),
			"use --platform=%s, or give another file with --binary", e.platform)
	case !e.runs:
		return errors.New("a library, not a program")
	case e.loader != "":
		return applets.WithHint(fmt.Errorf("dynamically linked, and the image has no %s", e.loader),
			"build it with CGO_ENABLED=0")
	}

	return nil
}
