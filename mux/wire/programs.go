package wire

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// "kdiag enter --load" takes programs that a user brings along into its memory, from its stdin, one
// after the other without anything between. At its start it prints LoaderGreeting and the node's
// architecture on a line, and once it has all of them LoaderReady and the name of a UNIX socket. It
// hands them over there to a process of its own container, and ends.
const (
	LoaderGreeting = "kdiagP1 "
	LoaderReady    = "ready "

	// MaxPrograms limits how many programs a shell has.
	MaxPrograms = 8
	// MaxProgramSize limits the size of all of them, in bytes.
	MaxProgramSize = 1 << 30
	// MaxLoaderLine limits the lines that the loader prints, in bytes.
	MaxLoaderLine = 256
)

// Program describes a program that a user brings along.
type Program struct {
	// Name is what it is called by in the shell.
	Name string
	Size int64
	// Sum is the SHA-256 of its content, in hexadecimal.
	Sum string
}

// String returns NAME:SIZE:SUM.
func (p Program) String() string { return fmt.Sprintf("%s:%d:%s", p.Name, p.Size, p.Sum) }

// IsProgramName reports whether a program may have a name: 1 to 64 letters, digits and any of "._+-",
// which begins with none of "." and "-".
func IsProgramName(name string) bool {
	other := func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		return !letter && (r < '0' || r > '9') && !strings.ContainsRune("._+-", r)
	}
	return name != "" && len(name) <= 64 && !strings.ContainsFunc(name, other) && !strings.HasPrefix(name, ".") && !strings.HasPrefix(name, "-")
}

// ParsePrograms parses what String returns, of each of several programs.
func ParsePrograms(texts []string) ([]Program, error) {
	if len(texts) > MaxPrograms {
		return nil, fmt.Errorf("%d programs are over the limit of %d", len(texts), MaxPrograms)
	}

	var list []Program
	var total int64
	seen := map[string]bool{}
	for _, text := range texts {
		p, err := parseProgram(text)
		if err != nil {
			return nil, fmt.Errorf("program %q: %w", text, err)
		}
		if seen[p.Name] {
			return nil, fmt.Errorf("program %q: another one has its name", text)
		}
		seen[p.Name] = true

		if total += p.Size; total > MaxProgramSize {
			return nil, fmt.Errorf("programs of %d bytes are over the limit of %d", total, int64(MaxProgramSize))
		}
		list = append(list, p)
	}

	return list, nil
}

// parseProgram parses NAME:SIZE:SUM.
func parseProgram(text string) (Program, error) {
	name, rest, _ := strings.Cut(text, ":")
	size, sum, _ := strings.Cut(rest, ":")
	bytes, err := strconv.ParseInt(size, 10, 64)
	switch {
	case !IsProgramName(name):
		return Program{}, errors.New("not the name of a program")
	case err != nil || bytes <= 0 || bytes > MaxProgramSize:
		return Program{}, errors.New("not a size")
	case len(sum) != 64 || strings.Trim(sum, "0123456789abcdef") != "":
		return Program{}, errors.New("not a SHA-256 in hexadecimal")
	}

	return Program{Name: name, Size: bytes, Sum: sum}, nil
}
