// Package localfiles opens files of the laptop for a copy (package filecopy): through os.Root, below
// what the user has named and nowhere else.
package localfiles

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"kdiag/mux/filecopy"
	"kdiag/mux/wire"
)

// Rules returns which names this system does not take.
func Rules() filecopy.NameRules {
	windows := runtime.GOOS == "windows"
	return filecopy.NameRules{Windows: windows, FoldCase: windows || runtime.GOOS == "darwin"}
}

// Source is what a path leads to: a directory, or a file in one.
type Source struct {
	Dir *Dir
	// Info is the file's, or the directory's own if Name is empty.
	Info filecopy.Info
	Name string
}

// OpenSource opens what is to be read. It follows the path's own links.
func OpenSource(path string) (Source, error) {
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return Source{}, err
	}
	found, err := os.Stat(resolved)
	if err != nil {
		return Source{}, err
	}

	info := infoOf(found)
	switch info.Kind {
	case wire.KindDirectory:
		dir, err := openDir(resolved)
		return Source{Dir: dir, Info: info}, err
	case wire.KindFile:
		dir, err := openDir(filepath.Dir(resolved))
		return Source{Dir: dir, Info: info, Name: filepath.Base(resolved)}, err
	}
	return Source{}, fmt.Errorf("%s is %s, which is not copied; use - for what comes from stdin", path, info.Special)
}

// OpenPlace opens where a copy goes: a directory, or the one in which the copy is made.
func OpenPlace(to filecopy.Destination) (filecopy.Placement, error) {
	path := to.Path
	found, err := os.Stat(path)
	switch {
	case err == nil && found.IsDir():
		dir, err := openDir(path)
		if err != nil {
			return filecopy.Placement{}, err
		}
		place, err := to.PlaceIn(dir)
		if err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
		return place, err
	case err == nil && to.IsDirectory:
		return filecopy.Placement{}, fmt.Errorf("%s is not a directory, and a directory is copied", path)
	case err == nil && !found.Mode().IsRegular():
		return filecopy.Placement{}, fmt.Errorf("%s is %s; use - to write to stdout", path, infoOf(found).Special)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return filecopy.Placement{}, err
	}

	if endsInSeparator(path) && !to.IsDirectory {
		return filecopy.Placement{}, fmt.Errorf("%s is not a directory", path)
	}
	return openParent(filepath.Clean(path))
}

func endsInSeparator(path string) bool {
	return path != "" && os.IsPathSeparator(path[len(path)-1])
}

// openParent opens the directory in which a path is to be made.
func openParent(path string) (filecopy.Placement, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return filecopy.Placement{}, fmt.Errorf("%s is a symbolic link to no directory; name the file that it leads to", path)
	}
	dir, err := openDir(filepath.Dir(path))
	if err != nil {
		return filecopy.Placement{}, err
	}
	return filecopy.Placement{Dir: dir, Name: filepath.Base(path)}, nil
}

// Dir is a directory of the laptop. It implements filecopy.Dir.
type Dir struct{ root *os.Root }

func openDir(path string) (*Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &Dir{root: root}, nil
}

// Close closes the directory.
func (d *Dir) Close() error { return d.root.Close() }

// List calls each with every file, and ends with the first error of each's.
func (d *Dir) List(each func(filecopy.Dirent) error) error {
	file, err := d.root.Open(".")
	if err != nil {
		return err
	}
	defer file.Close()

	const atOnce = 256
	for {
		found, err := file.ReadDir(atOnce)
		for _, entry := range found {
			if err := each(filecopy.Dirent{Name: entry.Name(), Kind: kindOf(entry.Type())}); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// kindOf returns the kind of a file, 0 for those that have none.
func kindOf(mode fs.FileMode) wire.FileKind {
	switch mode.Type() {
	case 0:
		return wire.KindFile
	case fs.ModeDir:
		return wire.KindDirectory
	case fs.ModeSymlink:
		return wire.KindSymlink
	}
	return 0
}

// Stat looks at a file, and follows no link.
func (d *Dir) Stat(name string) (filecopy.Info, error) {
	info, err := d.root.Lstat(name)
	if err != nil {
		return filecopy.Info{}, err
	}
	return infoOf(info), nil
}

// Readlink reads what a link says.
func (d *Dir) Readlink(name string) (string, error) {
	text, err := d.root.Readlink(name)
	return filepath.ToSlash(text), err
}

// OpenDir opens a directory, and no link to one.
func (d *Dir) OpenDir(name string) (filecopy.Dir, filecopy.Info, error) {
	named, err := d.root.Lstat(name)
	if err != nil {
		return nil, filecopy.Info{}, err
	}
	if !named.IsDir() {
		return nil, filecopy.Info{}, errNoDirectory
	}

	root, err := d.root.OpenRoot(name)
	if err != nil {
		return nil, filecopy.Info{}, err
	}
	opened, err := root.Stat(".")
	if err == nil && !os.SameFile(named, opened) {
		err = errNoDirectory
	}
	if err != nil {
		_ = root.Close()
		return nil, filecopy.Info{}, err
	}
	return &Dir{root: root}, infoOf(opened), nil
}

var errNoDirectory = errors.New("it is no directory")

// OpenFile opens a regular file to be read.
func (d *Dir) OpenFile(name string) (filecopy.File, filecopy.Info, error) {
	return d.openRegular(name, os.O_RDONLY)
}

func (d *Dir) openRegular(name string, flags int) (*File, filecopy.Info, error) {
	file, err := d.root.OpenFile(name, flags|neverWait, 0)
	if err != nil {
		return nil, filecopy.Info{}, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = filecopy.ErrSpecial
	}
	if err != nil {
		_ = file.Close()
		return nil, filecopy.Info{}, err
	}
	return &File{File: file, dir: d, name: name}, infoOf(info), nil
}

// Mkdir makes a directory that is its owner's alone until it is complete.
func (d *Dir) Mkdir(name string) error { return d.root.Mkdir(name, 0o700) }

// CreateFile makes a file that was not there.
func (d *Dir) CreateFile(name string, _ uint32) (filecopy.File, error) {
	file, err := d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if filecopy.IsPartialName(name) {
		if err := lock(file); err != nil {
			_ = file.Close()
			return nil, err
		}
	}
	return &File{File: file, dir: d, name: name}, nil
}

// OpenPartial opens a regular file of a single name, which no other copy writes.
func (d *Dir) OpenPartial(name string) (filecopy.File, filecopy.Info, error) {
	if info, err := d.Stat(name); err != nil || info.Kind != wire.KindFile {
		return nil, filecopy.Info{}, errors.Join(err, filecopy.ErrSpecial)
	}
	file, info, err := d.openRegular(name, os.O_RDWR)
	if err != nil {
		return nil, info, err
	}
	if info.Links > 1 {
		err = filecopy.ErrSpecial
	} else {
		info, err = file.lockPartial()
	}
	if err != nil {
		_ = file.Close()
		return nil, info, err
	}
	return file, info, nil
}

// lockPartial locks a file, which may have got another name before. Another user's is refused: its
// owner could read what is written to it.
func (f *File) lockPartial() (filecopy.Info, error) {
	if err := lock(f.File); err != nil {
		return filecopy.Info{}, err
	}
	found, err := f.File.Stat()
	if err != nil {
		return filecopy.Info{}, err
	}
	info := infoOf(found)
	if named, err := f.dir.root.Lstat(f.name); err != nil || !os.SameFile(named, found) {
		return info, filecopy.ErrBusy
	}
	if !isOwn(info) {
		return info, filecopy.ErrSpecial
	}
	return info, nil
}

// Symlink makes a symbolic link.
func (d *Dir) Symlink(text, name string) error {
	return d.root.Symlink(filepath.FromSlash(text), name)
}

// Link makes a name another one of the file at a path below a directory, to which this one belongs.
func (d *Dir) Link(top filecopy.Dir, path, name string) error {
	from, ok := top.(*Dir)
	if !ok {
		return errNoDirectory
	}
	below, err := filepath.Rel(from.root.Name(), filepath.Join(d.root.Name(), name))
	if err != nil {
		return err
	}
	return from.root.Link(filepath.FromSlash(path), below)
}

// Rename gives a file another name, and replaces what had that.
func (d *Dir) Rename(from, to string) error { return d.root.Rename(from, to) }

// Remove removes a file.
func (d *Dir) Remove(name string) error { return d.root.Remove(name) }

// SetMeta sets what a copy has beside its bytes, of the directory itself if the name is ".".
func (d *Dir) SetMeta(name string, m filecopy.Meta) error {
	if m.Owner {
		if err := d.root.Lchown(name, int(m.UID), int(m.GID)); err != nil {
			return err
		}
	}
	if m.Kind == wire.KindSymlink {
		return setLinkTime(d.root, name, m.MTime)
	}
	if err := d.root.Chmod(name, modeOf(m.Mode)); err != nil {
		return err
	}
	return d.setTime(name, m)
}

func (d *Dir) setTime(name string, m filecopy.Meta) error {
	if m.MTime == 0 {
		return nil
	}
	return d.root.Chtimes(name, time.Time{}, time.Unix(0, m.MTime))
}

// modeOf writes a mode as Go does.
func modeOf(bits uint32) fs.FileMode {
	mode := fs.FileMode(bits & 0o777)
	for bit, flag := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if bits&bit != 0 {
			mode |= flag
		}
	}
	return mode
}

// bitsOf is the reverse of modeOf.
func bitsOf(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	for bit, flag := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if mode&flag != 0 {
			bits |= bit
		}
	}
	return bits
}

// File is a regular file of the laptop's. It implements filecopy.File.
type File struct {
	*os.File
	dir  *Dir
	name string
}

// Stat looks at the file.
func (f *File) Stat() (filecopy.Info, error) {
	info, err := f.File.Stat()
	if err != nil {
		return filecopy.Info{}, err
	}
	return infoOf(info), nil
}

// SetMeta sets owner, mode and time, in this order: a new owner takes bits of the mode away.
func (f *File) SetMeta(m filecopy.Meta) error {
	if m.Owner {
		if err := f.Chown(int(m.UID), int(m.GID)); err != nil {
			return err
		}
	}
	if err := f.Chmod(modeOf(m.Mode)); err != nil {
		return err
	}
	return f.dir.setTime(f.name, m)
}

// infoOf describes a file.
func infoOf(found fs.FileInfo) filecopy.Info {
	info := filecopy.Info{
		Kind: kindOf(found.Mode()), Mode: bitsOf(found.Mode()), Size: found.Size(), MTime: found.ModTime().UnixNano(),
	}
	if info.Kind != wire.KindFile {
		info.Size = 0
	}
	switch mode := found.Mode(); {
	case mode&fs.ModeNamedPipe != 0:
		info.Special = "a FIFO"
	case mode&fs.ModeSocket != 0:
		info.Special = "a socket"
	case mode&fs.ModeDevice != 0:
		info.Special = "a device"
	case info.Kind == 0:
		info.Special = "of an unknown kind"
	}
	addSystemInfo(&info, found)
	return info
}
