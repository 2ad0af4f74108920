// Package podsockets tells whether a pod's containers still use its network: whether a process other
// than kdiag's managers has a socket in this network namespace.
package podsockets

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"strings"

	"kdiag/applets/internal/pod/procfs"
	"kdiag/applets/internal/pod/sockdiag"
)

// maxOwn bounds how many of its own sockets a manager tells by their inodes.
const maxOwn = 1 << 16

// AnyOfOthers reports whether another process has a socket, TCP, UDP or UNIX, in this network
// namespace. TCP sockets with a mark are other managers', as UNIX sockets are whose names begin with
// lockName; and those that lead to a port where a marked one listens are the runtime's, for a
// port-forward. The calling process needs CAP_NET_ADMIN to see marks.
func AnyOfOthers(mark uint32, lockName string) (bool, error) {
	inodes, _, err := procfs.ListSocketInodes(os.Getpid(), maxOwn)
	if err != nil {
		return false, err
	}

	s := search{mark: mark, lockName: lockName, own: map[uint64]bool{}, doors: map[uint16]bool{}}
	for _, inode := range inodes {
		s.own[inode] = true
	}
	defer s.close()

	return s.lookEverywhere()
}

// search looks for a socket of another process.
type search struct {
	mark     uint32
	lockName string
	own      map[uint64]bool
	doors    map[uint16]bool // ports at which managers listen
	marks    *sockdiag.MarkReader
	found    bool
	failed   error // of reading a mark
}

// lookEverywhere looks through the lists of all kinds of sockets.
func (s *search) lookEverywhere() (bool, error) {
	for _, list := range []struct {
		path string
		look func(procfs.InetSocket) bool
	}{
		{"/proc/net/tcp", s.lookAtTCP}, {"/proc/net/tcp6", s.lookAtTCP},
		{"/proc/net/udp", s.lookAtUDP}, {"/proc/net/udp6", s.lookAtUDP},
	} {
		err := errors.Join(procfs.EachInetSocket(list.path, list.look), s.failed)
		switch {
		case s.found:
			return true, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist): // a kernel without IPv6 has no such file
			return false, err
		}
	}

	err := procfs.EachUnixSocket("/proc/net/unix", func(u procfs.UnixSocket) bool {
		return strings.HasPrefix(u.Path, s.lockName) || s.lookAt(u.Inode)
	})
	return s.found, err
}

// lookAt looks at the owner of a socket, and reports whether to go on. One without an inode belongs
// to nobody any more.
func (s *search) lookAt(inode uint64) bool {
	s.found = inode != 0 && !s.own[inode]
	return !s.found
}

func (s *search) lookAtUDP(socket procfs.InetSocket) bool { return s.lookAt(socket.Inode) }

// lookAtTCP looks at a TCP socket. The kernel lists those that listen first.
func (s *search) lookAtTCP(socket procfs.InetSocket) bool {
	ours := s.own[socket.Inode]
	switch {
	case socket.Inode == 0:
		return true
	case !ours && socket.Remote.Addr().Unmap().IsLoopback() && s.doors[socket.Remote.Port()]:
		return true // a port-forward to a manager
	case !ours:
		ours, s.failed = s.isMarked(socket.Local, socket.Remote)
	}

	if ours && socket.State == procfs.TCPListen {
		s.doors[socket.Local.Port()] = true
	}

	s.found = !ours && s.failed == nil
	return ours
}

// isMarked reports whether a socket has the managers' mark.
func (s *search) isMarked(local, remote netip.AddrPort) (bool, error) {
	if s.marks == nil {
		var err error
		if s.marks, err = sockdiag.OpenMarkReader(); err != nil {
			return false, unlessUnsupported(err)
		}
	}

	mark, err := s.marks.ReadMark(local, remote)
	return err == nil && mark == s.mark, unlessUnsupported(err)
}

// unlessUnsupported returns nil for a kernel that shows no marks: every socket is another's then.
func unlessUnsupported(err error) error {
	if errors.Is(err, sockdiag.ErrUnsupported) {
		return nil
	}
	return err
}

// close closes what was opened on the way.
func (s *search) close() {
	if s.marks != nil {
		_ = s.marks.Close()
	}
}
