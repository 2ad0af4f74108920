package filecopy

import (
	"errors"
	"io"
	"testing"
)

// procFile is a file of which the size is said to be 0.
type procFile struct {
	File
	size int64
}

func (f procFile) ReadAt(p []byte, offset int64) (int, error) {
	n := min(int64(len(p)), f.size-offset)
	if n == 0 {
		return 0, io.EOF
	}
	return int(n), nil
}

// TestUnsizedFile reads a file of no size to its end, and tells of one that goes on.
func TestUnsizedFile(t *testing.T) {
	for size, want := range map[int64]error{0: nil, 1: nil, maxUnsized: nil, maxUnsized + 1: errUnsized, 1 << 40: errUnsized} {
		file, buffer := procFile{size: size}, make([]byte, 1<<20)
		var end int64
		err := eachExtent(file, Info{}, 0, func(at, end int64) (int64, error) {
			n, err := file.ReadAt(buffer[:min(end-at, int64(len(buffer)))], at)
			return int64(n), err
		}, &end)
		if !errors.Is(err, want) || err == nil && end != size {
			t.Errorf("a file of %d bytes ends at %d, %v, want %v", size, end, err, want)
		}
	}
}
