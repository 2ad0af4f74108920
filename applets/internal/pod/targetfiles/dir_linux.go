package targetfiles

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"strings"

	"kdiag/mux/filecopy"
	"kdiag/mux/wire"

	"golang.org/x/sys/unix"
)

// Dir is a directory of the target. It implements filecopy.Dir.
type Dir struct {
	fd int
	// device is the one that the directory is on.
	device uint64
	// only is the one file of a directory that is none, or 0.
	only int
}

func newDir(fd int, device uint64) *Dir { return &Dir{fd: fd, device: device} }

// Close closes the directory.
func (d *Dir) Close() error {
	if d.only > 0 {
		return unix.Close(d.only)
	}
	return unix.Close(d.fd)
}

// direntHead is where the name begins in what getdents64 returns (getdents(2)).
const direntHead = 19

// List calls each with every file, and ends with the first error of each's. It reads a part of the
// directory at a time, however large that is.
func (d *Dir) List(each func(filecopy.Dirent) error) error {
	buffer := make([]byte, 32<<10)
	for {
		n, err := unix.Getdents(d.fd, buffer)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			return err
		}

		for rest := buffer[:n]; len(rest) > direntHead; {
			size := int(binary.NativeEndian.Uint16(rest[16:]))
			if size <= direntHead || size > len(rest) {
				return unix.EIO
			}
			name, _, _ := strings.Cut(string(rest[direntHead:size]), "\x00")
			kind := kindOfDirent(rest[18])
			rest = rest[size:]
			if name == "." || name == ".." {
				continue
			}
			if err := each(filecopy.Dirent{Name: name, Kind: kind}); err != nil {
				return err
			}
		}
	}
}

// kindOfDirent returns the kind of a file by its d_type, 0 for any that has to be looked at.
func kindOfDirent(kind byte) wire.FileKind {
	switch kind {
	case unix.DT_REG:
		return wire.KindFile
	case unix.DT_DIR:
		return wire.KindDirectory
	case unix.DT_LNK:
		return wire.KindSymlink
	}
	return 0
}

// Stat looks at a file, and follows no link.
func (d *Dir) Stat(name string) (filecopy.Info, error) {
	if d.only > 0 {
		return statOpen(d.only)
	}
	var stat unix.Stat_t
	if err := unix.Fstatat(d.fd, name, &stat, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return filecopy.Info{}, err
	}
	return infoOf(&stat), nil
}

// Readlink reads what a link says.
func (d *Dir) Readlink(name string) (string, error) { return readlink(d.fd, name) }

func readlink(fd int, name string) (string, error) {
	buffer := make([]byte, wire.MaxLinkText+1)
	n, err := unix.Readlinkat(fd, name, buffer)
	if err != nil {
		return "", err
	}
	if n > wire.MaxLinkText {
		return "", unix.ENAMETOOLONG
	}
	return string(buffer[:n]), nil
}

// OpenDir opens a directory. Its info names what is not a place for files: the kernel's own.
func (d *Dir) OpenDir(name string) (filecopy.Dir, filecopy.Info, error) {
	fd, err := openRetrying(d.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC)
	if err != nil {
		return nil, filecopy.Info{}, err
	}
	info, err := statOpen(fd)
	if err != nil {
		_ = unix.Close(fd)
		return nil, filecopy.Info{}, err
	}

	if d.device != 0 && info.Dev != d.device {
		info.Special = describeKernelFS(fd)
	}
	return &Dir{fd: fd, device: info.Dev}, info, nil
}

// describeKernelFS names a file system in which the kernel shows itself, or returns "". A copy does
// not go into one.
func describeKernelFS(fd int) string {
	var stat unix.Statfs_t
	if unix.Fstatfs(fd, &stat) != nil {
		return ""
	}
	switch stat.Type {
	case unix.PROC_SUPER_MAGIC:
		return "the kernel's own (proc)"
	case unix.SYSFS_MAGIC:
		return "the kernel's own (sysfs)"
	case unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC:
		return "the kernel's own (cgroup)"
	case unix.DEVPTS_SUPER_MAGIC, unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC, unix.SECURITYFS_MAGIC, unix.BPF_FS_MAGIC:
		return "the kernel's own"
	}
	return ""
}

// OpenFile opens a regular file to be read, without a trace where that is allowed. What is no
// regular file is not waited for.
func (d *Dir) OpenFile(name string) (filecopy.File, filecopy.Info, error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	dir := d.fd
	if d.only > 0 {
		return d.openOnly(flags)
	}
	fd, err := openRetrying(dir, name, flags|unix.O_NOATIME)
	if errors.Is(err, unix.EPERM) {
		fd, err = openRetrying(dir, name, flags)
	}
	return newFile(fd, err, name)
}

// openOnly opens the one file, of which there is a descriptor that leads to it alone.
func (d *Dir) openOnly(flags int) (filecopy.File, filecopy.Info, error) {
	name := ownPath(d.only)
	fd, err := unix.Open(name, flags&^unix.O_NOFOLLOW|unix.O_NOATIME, 0)
	if errors.Is(err, unix.EPERM) {
		fd, err = unix.Open(name, flags&^unix.O_NOFOLLOW, 0)
	}
	return newFile(fd, err, name)
}

// Mkdir makes a directory that is its owner's alone until it is complete.
func (d *Dir) Mkdir(name string) error { return asPath("mkdir", name, unix.Mkdirat(d.fd, name, 0o700)) }

// CreateFile makes a file that was not there.
func (d *Dir) CreateFile(name string, mode uint32) (filecopy.File, error) {
	fd, err := unix.Openat(d.fd, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	if err != nil {
		return nil, asPath("create", name, err)
	}
	if filecopy.IsPartialName(name) && isLocked(fd) {
		_ = unix.Close(fd)
		return nil, filecopy.ErrBusy
	}
	return &File{fd: fd, created: true, mode: mode}, nil
}

// OpenPartial opens a regular file of a single name, which no other copy writes.
func (d *Dir) OpenPartial(name string) (filecopy.File, filecopy.Info, error) {
	fd, err := openRetrying(d.fd, name, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC)
	file, info, err := newFile(fd, err, name)
	if err != nil {
		return nil, info, err
	}
	if info.Links != 1 {
		_ = file.Close()
		return nil, info, filecopy.ErrSpecial
	}
	if info, err = d.lockPartial(fd, name); err != nil {
		_ = file.Close()
		return nil, info, err
	}
	return file, info, nil
}

// isLocked reports whether somebody else has locked a file. If nobody has, it is locked now.
func isLocked(fd int) bool {
	return errors.Is(unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// lockPartial locks a file, which may have got another name before. Another user's is refused: its
// owner could read what is written to it.
func (d *Dir) lockPartial(fd int, name string) (filecopy.Info, error) {
	if isLocked(fd) {
		return filecopy.Info{}, filecopy.ErrBusy
	}
	info, err := statOpen(fd)
	if err != nil {
		return info, err
	}
	if named, err := d.Stat(name); err != nil || named.Ino != info.Ino || named.Dev != info.Dev {
		return info, filecopy.ErrBusy
	}
	if info.UID != uint32(unix.Geteuid()) {
		return info, filecopy.ErrSpecial
	}
	return info, nil
}

// Symlink makes a symbolic link.
func (d *Dir) Symlink(text, name string) error {
	return asPath("symlink", name, unix.Symlinkat(text, d.fd, name))
}

// Link makes a name another one of the file at a path below a directory. The path leads over no
// link.
func (d *Dir) Link(top filecopy.Dir, path, name string) error {
	from, ok := top.(*Dir)
	if !ok {
		return unix.EXDEV
	}

	at := from.fd
	names := splitPath(path)
	for i, part := range names[:len(names)-1] {
		next, err := openRetrying(at, part, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC)
		if i > 0 {
			_ = unix.Close(at)
		}
		if err != nil {
			return err
		}
		at = next
	}
	if at != from.fd {
		defer unix.Close(at)
	}
	last := names[len(names)-1]
	return asPath("link", name, unix.Linkat(at, last, d.fd, name, 0))
}

// Rename gives a file another name, and replaces what had that.
func (d *Dir) Rename(from, to string) error {
	return asPath("rename", to, unix.Renameat(d.fd, from, d.fd, to))
}

// Remove removes a file.
func (d *Dir) Remove(name string) error { return asPath("remove", name, unix.Unlinkat(d.fd, name, 0)) }

// SetMeta sets what a copy has beside its bytes, of the directory itself if the name is ".".
func (d *Dir) SetMeta(name string, m filecopy.Meta) error {
	if m.Owner {
		if err := unix.Fchownat(d.fd, name, int(m.UID), int(m.GID), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return asPath("chown", name, err)
		}
	}
	if m.Kind == wire.KindDirectory && name == "." {
		if err := unix.Fchmod(d.fd, m.Mode); err != nil {
			return asPath("chmod", name, err)
		}
	}
	if m.MTime == 0 {
		return nil
	}
	return asPath("set the time of", name, unix.UtimesNanoAt(d.fd, name, timesOf(m), unix.AT_SYMLINK_NOFOLLOW))
}

// timesOf leaves the time of access to the kernel.
func timesOf(m filecopy.Meta) []unix.Timespec {
	return []unix.Timespec{{Nsec: unix.UTIME_OMIT}, toTimespec(m.MTime)}
}

// toTimespec splits nanoseconds, before 1970, too.
func toTimespec(nanoseconds int64) unix.Timespec {
	const second = 1_000_000_000
	seconds, rest := nanoseconds/second, nanoseconds%second
	if rest < 0 {
		seconds, rest = seconds-1, rest+second
	}
	return unix.Timespec{Sec: seconds, Nsec: rest}
}

// asPath makes an error of a system call's one that fs.ErrExist and its kin match.
func asPath(doing, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: doing, Path: name, Err: err}
}
