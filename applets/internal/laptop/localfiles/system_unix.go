//go:build linux || darwin

package localfiles

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"kdiag/mux/filecopy"
	"kdiag/mux/wire"

	"golang.org/x/sys/unix"
)

// neverWait keeps the opening of what is no regular file from waiting.
const neverWait = unix.O_NONBLOCK | unix.O_NOCTTY

// addSystemInfo adds what only this system tells.
func addSystemInfo(info *filecopy.Info, found fs.FileInfo) {
	stat, ok := found.Sys().(*syscall.Stat_t)
	if !ok {
		return
	}

	info.UID, info.GID = stat.Uid, stat.Gid
	info.Dev, info.Ino, info.Links = uint64(stat.Dev), stat.Ino, uint64(stat.Nlink) //nolint:unconvert // of other sizes elsewhere
	info.CTime = changeTime(stat)
	const sector = 512 // stat(2), st_blocks
	info.Sparse = info.Kind == wire.KindFile && stat.Blocks*sector < stat.Size
}

// lock keeps other copies from writing the same file.
func lock(file *os.File) error {
	err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return filecopy.ErrBusy
	}
	return nil // a file system without locks is no obstacle
}

// isOwn reports whether this user has a file.
func isOwn(info filecopy.Info) bool { return info.UID == uint32(os.Geteuid()) }

// Flush closes another descriptor of the file, which tells what closing this one would (close(2)).
func (f *File) Flush() error {
	again, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Close(again)
}

// setLinkTime sets the time of a link itself.
func setLinkTime(root *os.Root, name string, nanoseconds int64) error {
	if nanoseconds == 0 {
		return nil
	}
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	at := unix.NsecToTimespec(nanoseconds)
	return unix.UtimesNanoAt(int(dir.Fd()), name, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
}

// NextData returns where data begins and ends from an offset on.
func (f *File) NextData(offset int64) (start, end int64, err error) {
	start, err = f.Seek(offset, seekData)
	switch {
	case errors.Is(err, unix.ENXIO):
		return 0, 0, io.EOF
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOTTY):
		return offset, 1<<63 - 1, nil
	case err != nil:
		return 0, 0, err
	}
	end, err = f.Seek(start, seekHole)
	return start, end, err
}
