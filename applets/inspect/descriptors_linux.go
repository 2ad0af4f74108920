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

// addDescriptors finds the sockets that a process has open, and reads the users' names through the
// first process that allows it.
func (b *snapshotBuilder) addDescriptors(stat procfs.Stat, status procfs.Status) {
	if stat.Dead() {
		return
	}

	look := func() error {
		if b.userNames == nil {
			b.userNames = readUserNames(stat.Thread)
		}
		return b.readDescriptors(stat)
	}

	err := look()
	if errors.Is(err, fs.ErrPermission) && credentials.MayBecomeFSUser(b.own) {
		userErr := credentials.RunAsFSUser(status.UIDs.Effective, status.GIDs.Effective, b.own, func() error {
			err = look()
			return nil
		})
		err = cmp.Or(userErr, err)
	}

	if errors.Is(err, fs.ErrPermission) {
		why, _ := credentials.ExplainClosed(status, b.own, credentials.ReadSecurityLabels(stat.Thread))
		b.hidden[why]++
	}
}

// readDescriptors notes a process as an owner of the sockets that it has open.
func (b *snapshotBuilder) readDescriptors(stat procfs.Stat) error {
	inodes, cut, err := procfs.ListSocketInodes(stat.Thread, b.limits.descriptors-b.descriptors)
	if err != nil {
		return err
	}
	if cut {
		b.noteCut("more than %d descriptors of sockets", b.limits.descriptors)
	}

	b.descriptors += len(inodes)
	for _, inode := range inodes {
		if !slices.Contains(b.owners[inode], stat.PID) {
			b.owners[inode] = append(b.owners[inode], stat.PID)
		}
	}

	return nil
}

// countHidden counts the processes whose sockets are hidden, by reason.
func (b *snapshotBuilder) countHidden() {
	b.Hidden.Processes = []wire.HiddenProcesses{}
	for reason, count := range b.hidden {
		b.Hidden.Processes = append(b.Hidden.Processes, wire.HiddenProcesses{Reason: reason, Count: count})
	}

	slices.SortFunc(b.Hidden.Processes, func(a, b wire.HiddenProcesses) int { return cmp.Compare(a.Reason, b.Reason) })
}

// readUserNames reads the target's /etc/passwd through one of its processes. It returns nil if it
// cannot enter the process's root, and no names if the file cannot be read without a trace: reading
// changes the time of access, unless with O_NOATIME, which the file's owner and root may use
// (open(2)). Links in the path lead nowhere outside the target's root.
func readUserNames(pid int) map[int]string {
	root, err := procfs.OpenDirectory(pid, "root")
	if err != nil {
		return nil
	}
	defer unix.Close(root)

	// The container's names, whatever root the process has made its own.
	if top, _, err := procfs.OpenTop(root); err == nil {
		defer unix.Close(top)
		root = top
	}

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

	content := make([]byte, maxPasswd)
	n, err := unix.Pread(fd, content, 0)
	if err != nil {
		return map[int]string{}
	}

	return parsePasswd(content[:n])
}
