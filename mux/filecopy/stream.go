package filecopy

import (
	"errors"
	"io"

	"kdiag/mux/wire"
)

// PlaceStream returns a Place that writes the one file that comes to a stream, in place of a
// directory.
func PlaceStream(out io.Writer) func(wire.Entry) (Placement, error) {
	return func(top wire.Entry) (Placement, error) {
		if top.Kind != wire.KindFile {
			return Placement{}, errors.New("only a regular file can be written to stdout")
		}
		return Placement{Dir: streamDir{out: out}, Name: "stdout"}, nil
	}
}

// streamDir is a directory in which one file can be made: the stream.
type streamDir struct {
	Dir
	out io.Writer
}

func (d streamDir) Close() error                            { return nil }
func (d streamDir) Stat(string) (Info, error)               { return Info{}, errNoStreamFile }
func (d streamDir) CreateFile(string, uint32) (File, error) { return &streamFile{out: d.out}, nil }
func (d streamDir) Rename(string, string) error             { return nil }
func (d streamDir) Remove(string) error                     { return nil }
func (d streamDir) OpenFile(string) (File, Info, error)     { return nil, Info{}, errNoStreamFile }
func (d streamDir) OpenPartial(string) (File, Info, error)  { return nil, Info{}, errNoStreamFile }

var errNoStreamFile = errors.New("not a file of the stream")

// streamFile writes a file's bytes in their order, and zeros for its holes.
type streamFile struct {
	File
	out io.Writer
	pos int64
}

func (f *streamFile) Close() error       { return nil }
func (f *streamFile) Flush() error       { return nil }
func (f *streamFile) SetMeta(Meta) error { return nil }

func (f *streamFile) WriteAt(p []byte, offset int64) (int, error) {
	if err := f.Truncate(offset); err != nil {
		return 0, err
	}
	n, err := f.out.Write(p)
	f.pos += int64(n)
	return n, err
}

// Truncate writes zeros up to a size.
func (f *streamFile) Truncate(size int64) error {
	for f.pos < size {
		n, err := f.out.Write(zeros[:min(size-f.pos, int64(len(zeros)))])
		f.pos += int64(n)
		if err != nil {
			return err
		}
	}
	return nil
}
