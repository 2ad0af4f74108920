package targetfiles

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"kdiag/mux/filecopy"
	"kdiag/mux/wire"

	"golang.org/x/sys/unix"
)

// Root is a target's root directory. Every path is one below it, whatever links say.
type Root struct {
	fd int
	// WorkingDirectory is where paths begin that do not begin with "/"; if it is empty, the root.
	WorkingDirectory string
	// withoutOpenat2 says that the kernel has no openat2 (before 5.6), or that a seccomp filter
	// hides it.
	withoutOpenat2 bool
}

// NewRoot takes a descriptor of the root.
func NewRoot(fd int) *Root { return &Root{fd: fd} }

// NewRootByWalk is NewRoot for a kernel without openat2.
func NewRootByWalk(fd int) *Root { return &Root{fd: fd, withoutOpenat2: true} }

// Close closes the descriptor.
func (r *Root) Close() error { return unix.Close(r.fd) }

// open opens a path below the root. Links in it lead nowhere outside, and magic links nowhere at
// all.
func (r *Root) open(path string, flags int) (int, error) {
	if !r.withoutOpenat2 {
		fd, err := r.openat2(path, flags)
		if !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) {
			return fd, err
		}
		r.withoutOpenat2 = true
	}
	return r.walk(path, flags)
}

// openat2 asks again if something was renamed meanwhile (openat2(2), EAGAIN).
func (r *Root) openat2(path string, flags int) (int, error) {
	const tries = 32
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC),
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	for try := 1; ; try++ {
		fd, err := unix.Openat2(r.fd, relative(path), &how)
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) || try == tries {
			return fd, err
		}
	}
}

// absolute makes a path begin at the root.
func (r *Root) absolute(path string) string {
	if strings.HasPrefix(path, "/") || r.WorkingDirectory == "" {
		return path
	}
	return strings.TrimRight(r.WorkingDirectory, "/") + "/" + path
}

// relative makes a path one that begins at a descriptor.
func relative(path string) string {
	if path = strings.TrimLeft(path, "/"); path == "" {
		return "."
	}
	return path
}

// maxLinks bounds the links in a path, as the kernel does (path_resolution(7)).
const maxLinks = 40

// walk opens a path without openat2: one name after the other, no link by the kernel, and ".." never
// above the root, since it goes back to a descriptor that it came by.
func (r *Root) walk(path string, flags int) (int, error) {
	w := walker{stack: []int{r.fd}}
	defer w.close()

	rest := splitPath(path)
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == ".." {
			w.up()
			continue
		}

		text, err := w.step(name, len(rest) == 0, flags)
		if err != nil {
			return -1, err
		}
		if text == "" {
			continue
		}
		if links++; links > maxLinks {
			return -1, unix.ELOOP
		}
		if strings.HasPrefix(text, "/") {
			w.toRoot()
		}
		rest = append(splitPath(text), rest...)
	}

	return w.take(flags)
}

// splitPath returns the names of a path, without those that lead nowhere.
func splitPath(path string) []string {
	var names []string
	for name := range strings.SplitSeq(path, "/") {
		if name != "" && name != "." {
			names = append(names, name)
		}
	}
	return names
}

// walker has the descriptors of the directories on its way, the root first.
type walker struct {
	stack []int
	// last is what the path leads to if that is no directory, else -1 or 0.
	last int
}

func (w *walker) at() int { return w.stack[len(w.stack)-1] }

func (w *walker) up() {
	if len(w.stack) > 1 {
		_ = unix.Close(w.at())
		w.stack = w.stack[:len(w.stack)-1]
	}
}

func (w *walker) toRoot() {
	for len(w.stack) > 1 {
		w.up()
	}
}

func (w *walker) close() {
	w.toRoot()
	if w.last > 0 {
		_ = unix.Close(w.last)
	}
}

// step goes to a name. It returns the text of a link, which it does not follow.
func (w *walker) step(name string, isLast bool, flags int) (text string, err error) {
	const look = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := openRetrying(w.at(), name, look)
	if err != nil {
		return "", err
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		_ = unix.Close(fd)
		return "", err
	}

	switch kind := stat.Mode & unix.S_IFMT; {
	case kind == unix.S_IFDIR:
		w.stack = append(w.stack, fd)
		return "", nil
	case kind == unix.S_IFLNK && (!isLast || flags&unix.O_NOFOLLOW == 0):
		defer unix.Close(fd)
		return readOpenLink(fd)
	case !isLast:
		_ = unix.Close(fd)
		return "", unix.ENOTDIR
	}
	w.last = fd
	return "", nil
}

// readOpenLink reads a link that is open itself. One of procfs is refused: where it leads is not
// what it says.
func readOpenLink(fd int) (string, error) {
	var where unix.Statfs_t
	if err := unix.Fstatfs(fd, &where); err != nil {
		return "", err
	}
	if where.Type == unix.PROC_SUPER_MAGIC {
		return "", unix.ELOOP
	}

	text, err := readlink(fd, "")
	if err == nil && text == "" {
		err = unix.ENOENT
	}
	return text, err
}

// take opens what the walk has come to.
func (w *walker) take(flags int) (int, error) {
	if w.last > 0 {
		if flags&unix.O_DIRECTORY != 0 {
			return -1, unix.ENOTDIR
		}
		fd := w.last
		w.last = 0
		if flags&unix.O_PATH != 0 {
			return fd, nil
		}
		defer unix.Close(fd)
		return unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), flags&^unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	}
	return openRetrying(w.at(), ".", flags&^unix.O_NOFOLLOW|unix.O_CLOEXEC)
}

// openRetrying opens a name in a directory, again if a signal came.
func openRetrying(dir int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// Source is what a path leads to: a directory, or a file in one.
type Source struct {
	Dir *Dir
	// Info is the directory's own, if Name is empty.
	Info filecopy.Info
	Name string
}

// OpenSource opens what is to be read. It follows links, within the root.
func (r *Root) OpenSource(path string) (Source, error) {
	fd, err := r.open(r.absolute(path), unix.O_PATH)
	if err != nil {
		return Source{}, err
	}
	defer unix.Close(fd)
	info, err := statOpen(fd)
	if err != nil {
		return Source{}, err
	}

	switch {
	case info.Kind == wire.KindDirectory:
		dir, err := reopen(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return Source{}, err
		}
		return Source{Dir: newDir(dir, info.Dev), Info: info}, nil
	case info.Kind != wire.KindFile:
		return Source{}, fmt.Errorf("it is %s, which is not copied", info.Special)
	}
	return Source{Dir: &Dir{fd: -1, only: dup(fd)}, Name: "."}, nil
}

// reopen opens a directory of which there is a descriptor.
func reopen(fd int, name string, flags int) (int, error) {
	return openRetrying(fd, name, flags|unix.O_CLOEXEC)
}

func dup(fd int) int {
	again, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return again
}

// OpenPlace opens where a copy goes: a directory, or the one in which the copy is made.
func (r *Root) OpenPlace(to filecopy.Destination) (filecopy.Placement, error) {
	path := r.absolute(to.Path)
	fd, err := r.open(path, unix.O_RDONLY|unix.O_DIRECTORY)
	switch {
	case err == nil:
		return to.PlaceIn(newDir(fd, 0))
	case !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR):
		return filecopy.Placement{}, err
	}

	if strings.HasSuffix(path, "/") && !to.IsDirectory {
		return filecopy.Placement{}, errors.New("it is not a directory")
	}
	return r.openParent(strings.TrimRight(path, "/"))
}

// openParent opens the directory in which a path is to be made.
func (r *Root) openParent(path string) (filecopy.Placement, error) {
	at := strings.LastIndexByte(path, '/')
	name := path[at+1:]
	if !wire.IsFileName(name) {
		return filecopy.Placement{}, syscall.EINVAL
	}

	fd, err := r.open(path[:at+1], unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return filecopy.Placement{}, fmt.Errorf("its directory: %w", err)
	}
	dir := newDir(fd, 0)
	if info, err := dir.Stat(name); err == nil && info.Kind == wire.KindSymlink {
		_ = dir.Close()
		return filecopy.Placement{}, errors.New("it is a symbolic link to no directory; name the file that it leads to")
	}
	return filecopy.Placement{Dir: dir, Name: name}, nil
}
