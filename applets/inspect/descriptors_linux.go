package inspect

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"

	"kdiag/applets/internal/pod/credentials"
	"kdiag/applets/internal/pod/procfs"
	"kdiag/mux/wire"

	"golang.org/x/sys/unix"
)

// addDescriptors finds the sockets that a process has open, and with the first
// process that lets it the users' names.
func (t *taking) addDescriptors(stat procfs.Stat, status procfs.Status) {
	if stat.Dead() {
		return
	}

	look := func() error {
		if t.userNames == nil {
			t.userNames = readUserNames(stat.PID)
		}
		return t.readDescriptors(stat.PID)
	}

	err := look()
	if errors.Is(err, fs.ErrPermission) && credentials.MayBecomeFSUser(t.own) {
		asUser := credentials.AsFSUser(status.UIDs.Effective, status.GIDs.Effective, t.own, func() error {
			err = look()
			return nil
		})
		err = cmp.Or(asUser, err)
	}

	if errors.Is(err, fs.ErrPermission) {
		why, _ := credentials.WhyClosed(status, t.own, credentials.ReadLabels(stat.PID))
		t.hidden[why]++
	}
}

func (t *taking) readDescriptors(pid int) error {
	inodes, cut, err := procfs.SocketInodes(pid, t.limits.descriptors-t.descriptors)
	if err != nil {
		return err
	}
	if cut {
		t.cut("more than %d descriptors of sockets", t.limits.descriptors)
	}

	t.descriptors += len(inodes)
	for _, inode := range inodes {
		if !slices.Contains(t.owners[inode], pid) {
			t.owners[inode] = append(t.owners[inode], pid)
		}
	}

	return nil
}

// tellHidden counts the processes whose sockets are hidden.
func (t *taking) tellHidden() {
	t.Hidden.Processes = []wire.HiddenProcesses{}
	for reason, count := range t.hidden {
		t.Hidden.Processes = append(t.Hidden.Processes, wire.HiddenProcesses{Reason: reason, Count: count})
	}
	slices.SortFunc(t.Hidden.Processes, func(a, b wire.HiddenProcesses) int { return cmp.Compare(a.Reason, b.Reason) })
}

// readUserNames reads the target's /etc/passwd by way of a process of it, nil
// where that cannot be done without a trace: what is read there has its time of
// access changed, but for O_NOATIME, which the file's owner has and root
// (open(2)). What it leads to stays below the target's root.
func readUserNames(pid int) map[int]string {
	const path = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	root, err := unix.Open(procfs.Path(pid, "root"), path, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(root)

	// Nonblocking: it may be a pipe.
	fd, err := unix.Openat2(root, "etc/passwd", &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NOATIME | unix.O_NONBLOCK | unix.O_NOCTTY,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return map[int]string{}
	}
	defer unix.Close(fd)

	var stat unix.Stat_t
	if unix.Fstat(fd, &stat) != nil || stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return map[int]string{}
	}

	content := make([]byte, mostPasswd)
	n, err := unix.Pread(fd, content, 0)
	if err != nil {
		return map[int]string{}
	}

	return parsePasswd(content[:n])
}
