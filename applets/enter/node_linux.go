package enter

import (
	"kdiag/mux/wire"

	"golang.org/x/sys/unix"
)

// standForNode has the node's first process stand for the node. What that was started with is nobody's
// environment. Where a security module keeps everybody out of the process, the node's file system is
// mounted in the container.
func (t *targetProcess) standForNode() {
	t.env, t.envCut, t.envErr = nil, false, nil
	if t.root >= 0 {
		return
	}

	root, err := unix.Open(wire.NodeRoot, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		t.root, t.rootErr = root, nil
	}
}
