package image

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// writeFile fills the file at path by calling write, and returns its size. The file
// appears under its name only once it is complete, and an error leaves nothing
// behind. But a device or a pipe is written to directly.
func writeFile(path string, write func(io.Writer) error) (size int64, err error) {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return 0, fmt.Errorf("write %s: is a directory", path)
	case err == nil && !info.Mode().IsRegular():
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return 0, err
		}
		return fillFile(file, write)
	case err == nil:
		// A link stays a link: the file that it points to is replaced.
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return 0, err
		}
	}

	// os.CreateTemp would ignore the umask and create a file with mode 0600.
	name := filepath.Join(filepath.Dir(path), ".kdiag-image-"+rand.Text()+".tmp")
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", path, withoutPath(err))
	}

	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(os.Remove(name)))
		}
	}()

	if size, err = fillFile(file, write); err != nil {
		return 0, fmt.Errorf("write %s: %w", path, withoutPath(err))
	}
	if err = os.Rename(name, path); err != nil {
		return 0, fmt.Errorf("write %s: %w", path, withoutPath(err))
	}

	return size, nil
}

// fillFile calls write with the file, and closes it.
func fillFile(file io.WriteCloser, write func(io.Writer) error) (int64, error) {
	counted := &countingWriter{to: file}
	buffered := bufio.NewWriterSize(counted, 1<<20)
	err := write(buffered)
	if err == nil {
		err = buffered.Flush()
	}
	return counted.size, errors.Join(err, file.Close())
}

// withoutPath removes the path from err, since it is one that the user never named.
func withoutPath(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

type countingWriter struct {
	to   io.Writer
	size int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.to.Write(p)
	w.size += int64(n)
	return n, err
}
