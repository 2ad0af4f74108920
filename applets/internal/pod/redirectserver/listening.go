package redirectserver

import (
	"errors"
	"os"

	"kdiag/applets/internal/pod/procfs"
	"kdiag/mux/wire"
)

// describeListening says whether something in the pod serves a port to callers, as one of
// wire.Listening…; empty if it does. Behind a mesh's sidecar, which calls over loopback, a listener
// there is as good as any.
func describeListening(port uint16, mesh string) (string, error) {
	found := wire.ListeningNone
	note := func(s procfs.InetSocket) bool {
		if s.State != procfs.TCPListen || s.Local.Port() != port {
			return true
		}
		if mesh != "" || !s.Local.Addr().Unmap().IsLoopback() {
			found = ""
			return false
		}
		found = wire.ListeningLoopback
		return true
	}

	for _, path := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		// A kernel without IPv6 has no such file.
		if err := procfs.EachInetSocket(path, note); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		if found == "" {
			break
		}
	}

	return found, nil
}
