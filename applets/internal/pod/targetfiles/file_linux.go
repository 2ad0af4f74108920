package targetfiles

import (
	"errors"
	"io"
	"strconv"
	"unsafe"

	"kdiag/mux/filecopy"
	"kdiag/mux/wire"

	"golang.org/x/sys/unix"
)

// File is a regular file of the target's. It implements filecopy.File.
type File struct {
	fd int
	// created says that the file was made with a mode. The process has no umask.
	created bool
	mode    uint32
}

// newFile takes a descriptor, if it is a regular file's.
func newFile(fd int, err error, name string) (filecopy.File, filecopy.Info, error) {
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.EISDIR) {
		return nil, filecopy.Info{}, filecopy.ErrSpecial
	}
	if err != nil {
		return nil, filecopy.Info{}, asPath("open", name, err)
	}

	info, err := statOpen(fd)
	if err == nil && info.Kind != wire.KindFile {
		err = filecopy.ErrSpecial
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, filecopy.Info{}, err
	}
	return &File{fd: fd}, info, nil
}

// ownPath is the path of a descriptor of this process.
func ownPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// Close closes the file.
func (f *File) Close() error { return unix.Close(f.fd) }

// Flush closes another descriptor of the file, which tells what closing this one would (close(2)).
func (f *File) Flush() error {
	again, err := unix.FcntlInt(uintptr(f.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Close(again)
}

// ReadAt reads what one call gives.
func (f *File) ReadAt(p []byte, offset int64) (int, error) {
	for {
		n, err := unix.Pread(f.fd, p, offset)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// WriteAt writes all.
func (f *File) WriteAt(p []byte, offset int64) (int, error) {
	written := 0
	for written < len(p) {
		n, err := unix.Pwrite(f.fd, p[written:], offset+int64(written))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return written, err
		}
		written += n
	}
	return written, nil
}

// Stat looks at the file.
func (f *File) Stat() (filecopy.Info, error) { return statOpen(f.fd) }

// Truncate sets the file's size.
func (f *File) Truncate(size int64) error { return unix.Ftruncate(f.fd, size) }

// NextData returns where data begins and ends from an offset on.
func (f *File) NextData(offset int64) (start, end int64, err error) {
	start, err = unix.Seek(f.fd, offset, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return 0, 0, io.EOF
	case errors.Is(err, unix.EINVAL):
		return offset, 1<<63 - 1, nil
	case err != nil:
		return 0, 0, err
	}

	end, err = unix.Seek(f.fd, start, unix.SEEK_HOLE)
	return start, end, err
}

// SetMeta sets owner, mode and time, in this order: a new owner takes bits of the mode away.
func (f *File) SetMeta(m filecopy.Meta) error {
	if m.Owner {
		if err := unix.Fchown(f.fd, int(m.UID), int(m.GID)); err != nil {
			return err
		}
	}
	if m.Owner || !f.created || f.mode != m.Mode {
		if err := unix.Fchmod(f.fd, m.Mode); err != nil {
			return err
		}
	}
	if m.MTime == 0 {
		return nil
	}
	return setTimes(f.fd, timesOf(m))
}

// setTimes sets the times of what is open. AT_EMPTY_PATH would need Linux 5.8; without a path, every
// kernel can (utimensat(2)).
func setTimes(fd int, times []unix.Timespec) error {
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&times[0])), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// statOpen looks at what is open.
func statOpen(fd int) (filecopy.Info, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return filecopy.Info{}, err
	}
	return infoOf(&stat), nil
}

func infoOf(stat *unix.Stat_t) filecopy.Info {
	info := filecopy.Info{
		Mode: stat.Mode & wire.MaxFileMode, UID: stat.Uid, GID: stat.Gid, Size: stat.Size,
		MTime: stat.Mtim.Nano(), CTime: stat.Ctim.Nano(),
		Dev: uint64(stat.Dev), Ino: stat.Ino, Links: uint64(stat.Nlink), //nolint:unconvert // narrower on some systems
	}

	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		info.Kind = wire.KindFile
		const sector = 512 // stat(2), st_blocks
		info.Sparse = stat.Blocks*sector < stat.Size
	case unix.S_IFDIR:
		info.Kind = wire.KindDirectory
	case unix.S_IFLNK:
		info.Kind = wire.KindSymlink
	case unix.S_IFIFO:
		info.Special = "a FIFO"
	case unix.S_IFSOCK:
		info.Special = "a socket"
	case unix.S_IFBLK, unix.S_IFCHR:
		info.Special = "a device"
	default:
		info.Special = "of an unknown kind"
	}
	return info
}
