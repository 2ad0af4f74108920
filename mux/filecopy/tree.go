package filecopy

import (
	"errors"
	"io"

	"kdiag/mux/wire"
)

// Info is what a file system says of a file, without following a link.
type Info struct {
	// Kind is wire.KindFile, KindDirectory or KindSymlink; 0 for every other kind of file, of which
	// Special has the name.
	Kind     wire.FileKind
	Special  string
	Mode     uint32
	UID, GID uint32
	Size     int64
	// MTime and CTime are in nanoseconds since 1970.
	MTime, CTime int64
	// Dev and Ino identify the file. Links counts its names, 0 where nobody knows.
	Dev, Ino, Links uint64
	// Sparse says that the file has less data than its size.
	Sparse bool
}

// Dirent is a file in a directory. Its kind is 0 where only Stat tells.
type Dirent struct {
	Name string
	Kind wire.FileKind
}

// Dir is an open directory. Names are single ones; nothing in it follows a link, or leads out of it.
type Dir interface {
	io.Closer
	// List calls each with every file, and ends with the first error of each's.
	List(each func(Dirent) error) error
	Stat(name string) (Info, error)
	Readlink(name string) (string, error)
	// OpenDir opens a directory. Its info is that of what was opened.
	OpenDir(name string) (Dir, Info, error)
	// OpenFile opens a regular file to be read. It never waits, and returns ErrSpecial for anything
	// else.
	OpenFile(name string) (File, Info, error)

	Mkdir(name string) error
	// CreateFile makes a file that was not there. Its mode may be the one given, or one that lets
	// only its owner in, until SetMeta.
	CreateFile(name string, mode uint32) (File, error)
	// OpenPartial opens a regular file of a single name to be read and written, which this user has
	// made. It locks the file, and returns ErrBusy if another copy has.
	OpenPartial(name string) (File, Info, error)
	Symlink(text, name string) error
	// Link makes name another name of the file at a path below another directory, and replaces a
	// file of that name.
	Link(top Dir, path, name string) error
	Rename(from, to string) error
	Remove(name string) error
	// SetMeta sets what Meta has of the file of a name, or of the directory itself if that is ".".
	SetMeta(name string, m Meta) error
}

// File is an open regular file.
type File interface {
	io.Closer
	io.ReaderAt
	io.WriterAt
	Stat() (Info, error)
	Truncate(size int64) error
	// NextData returns where data begins and ends from an offset on. It returns io.EOF where none
	// does. A file system that does not tell says that everything is data.
	NextData(offset int64) (start, end int64, err error)
	// Flush returns what Close would. The file stays open, and locked, where the system can rename
	// an open file.
	Flush() error
	// SetMeta is Dir's, for the file.
	SetMeta(m Meta) error
}

// Meta is what a copy has of a file beside its bytes.
type Meta struct {
	Kind wire.FileKind
	Mode uint32
	// MTime is left as it is if it is 0.
	MTime int64
	// Owner also sets UID and GID.
	Owner    bool
	UID, GID uint32
}

// ErrSpecial reports a file that is neither regular nor a directory.
var ErrSpecial = errors.New("not a regular file")

// A CauseError says in one line, with a hint, what is wrong with everything.
type CauseError struct {
	Text   string
	Advice string
	Err    error
}

func (e *CauseError) Error() string { return e.Text }
func (e *CauseError) Unwrap() error { return e.Err }

// Hint returns what the user may do next.
func (e *CauseError) Hint() string { return e.Advice }

// Counts is what was copied, or not.
type Counts struct {
	Files, Bytes int64
	// Problems counts what is not in place as it is at the source.
	Problems int64
}
