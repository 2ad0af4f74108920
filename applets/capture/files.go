package capture

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"kdiag/applets"
)

// files are the files of a capture, named as tcpdump names them: FILE, FILE1, FILE2 …, or with a
// number to keep FILE0 to FILE9, over and over.
type files struct {
	name string
	// size is when a file is full, keep how many there are; 0 for no limit.
	size   int64
	keep   uint
	number uint

	file *os.File
	out  interruptible // writes to file
	// made says that the first file is new, begun that something was written to it.
	made, begun bool
}

// openFiles opens the first file. One that exists keeps what it has until there is something to write.
func openFiles(ctx context.Context, name string, size int64, keep uint) (*files, error) {
	f := &files{name: name, size: size, keep: keep, out: interruptible{ctx: ctx}}
	_, err := os.Lstat(f.path())
	f.made = errors.Is(err, os.ErrNotExist)
	return f, f.open(0)
}

// open opens the file with the current number.
func (f *files) open(flag int) (err error) {
	f.file, err = os.OpenFile(f.path(), os.O_WRONLY|os.O_CREATE|flag, 0o600)
	f.out.to = f.file
	return err
}

// path returns the name of the current file.
func (f *files) path() string {
	if f.keep > 1 {
		width := len(strconv.FormatUint(uint64(f.keep-1), 10))
		return fmt.Sprintf("%s%0*d", f.name, width, f.number)
	}
	if f.number == 0 || f.keep == 1 {
		return f.name
	}
	return f.name + strconv.FormatUint(uint64(f.number), 10)
}

func (f *files) Write(p []byte) (int, error) {
	if !f.begun {
		f.begun = true
		if info, err := f.file.Stat(); err == nil && info.Mode().IsRegular() {
			if err := f.file.Truncate(0); err != nil {
				return 0, err
			}
		}
	}
	return f.out.Write(p)
}

func (f *files) isFull(written int64) bool { return f.size != 0 && written > f.size }

func (f *files) next() error {
	if err := f.file.Close(); err != nil {
		return err
	}
	f.number++
	if f.keep != 0 {
		f.number %= f.keep
	}
	return f.open(os.O_TRUNC)
}

func (f *files) close() error { return f.file.Close() }

func (f *files) discardIfEmpty() {
	if f.made && !f.begun {
		_ = os.Remove(f.path())
	}
}

// parseSize reads the value of -C: millions of bytes, or a number of KiB, MiB or GiB with a letter.
func parseSize(text string) (int64, error) {
	digits, unit := text, int64(1_000_000)
	for letter, bytes := range map[string]int64{"k": 1 << 10, "m": 1 << 20, "g": 1 << 30} {
		if rest, ok := strings.CutSuffix(strings.ToLower(text), letter); ok {
			digits, unit = rest, bytes
		}
	}

	const most = 1 << 20 // keeps the product far from the largest number
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 1 || n > most {
		return 0, applets.Usage("-C %s: must be a number from 1 to %d, alone or with k, m or g", text, most)
	}
	return n * unit, nil
}
