package netfilter

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// idLock shows other managers, for as long as it is open, that the manager of an
// id is alive. It is an abstract UNIX socket: like the rules, its name belongs to
// the network namespace (network_namespaces(7)), and the kernel removes it with
// the process. It needs no file system and no capability.
type idLock struct{ fd int }

// errIDInUse reports that another process has the lock of an id.
var errIDInUse = errors.New("another manager in this network namespace has this id")

// lockID locks an id. From then on, whatever carries that id in the kernel is
// either the caller's or a dead manager's. It returns errIDInUse if another
// process has the lock.
func lockID(id string) (idLock, error) {
	// Nobody can fill the buffers of a stream socket that does not listen.
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return idLock{}, fmt.Errorf("socket: %w", err)
	}

	err = unix.Bind(fd, &unix.SockaddrUnix{Name: LockName + id})
	if err == nil {
		return idLock{fd}, nil
	}

	unix.Close(fd)
	if errors.Is(err, unix.EADDRINUSE) {
		err = errIDInUse
	}

	return idLock{}, fmt.Errorf("id %s: %w", id, err)
}

func (l idLock) release() { unix.Close(l.fd) }

// withDeadID runs remove if no manager with that id is alive, and keeps one from
// starting meanwhile. The caller's own id counts as dead, since the caller has
// put nothing into the kernel yet.
func withDeadID(id, ownID string, remove func() error) error {
	if id == ownID {
		return remove()
	}

	lock, err := lockID(id)
	if errors.Is(err, errIDInUse) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.release()

	return remove()
}
