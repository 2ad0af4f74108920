package netfilter

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// alive says to others, for as long as it is open, that the manager of an id
// lives: an abstract UNIX socket, whose name belongs to the network namespace
// as the rules do (network_namespaces(7)), and which the kernel takes away with
// the process. It needs no file system and no capability.
type alive struct{ fd int }

// errAlive says that another process holds the id.
var errAlive = errors.New("a manager of that id lives in this network namespace")

// claimID takes the id, so that what has its name in the kernel is a dead
// manager's or our own. It returns errAlive when another has it.
func claimID(id string) (alive, error) {
	// A stream socket that does not listen: nobody can fill its buffers.
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return alive{}, fmt.Errorf("socket: %w", err)
	}

	err = unix.Bind(fd, &unix.SockaddrUnix{Name: "@kdiag-netfilter-" + id})
	if err == nil {
		return alive{fd}, nil
	}

	unix.Close(fd)
	if errors.Is(err, unix.EADDRINUSE) {
		err = errAlive
	}

	return alive{}, fmt.Errorf("id %s: %w", id, err)
}

func (a alive) release() { unix.Close(a.fd) }
