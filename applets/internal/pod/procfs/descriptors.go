package procfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// ListSocketInodes returns the inodes of up to limit sockets that a process has open
// (/proc/PID/fd), one for each descriptor, and reports whether there are more. It needs the right
// to trace the process (proc_pid_fd(5)), and opens nothing of what it finds.
func ListSocketInodes(pid, limit int) (inodes []uint64, cut bool, err error) {
	path := FilePath(pid, "fd")
	dir, err := os.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer dir.Close()

	for {
		const batch = 512
		names, err := dir.Readdirnames(batch)
		for _, name := range names {
			link, err := os.Readlink(path + "/" + name)
			if errors.Is(err, fs.ErrNotExist) {
				continue // closed meanwhile
			}
			if err != nil {
				return nil, false, err
			}

			inode, ok := parseSocketLink(link)
			if !ok {
				continue
			}
			if len(inodes) == limit {
				return inodes, true, nil
			}

			inodes = append(inodes, inode)
		}

		if errors.Is(err, io.EOF) {
			return inodes, false, nil
		}
		if err != nil {
			return nil, false, err
		}
	}
}

// parseSocketLink parses the link of a socket's descriptor, "socket:[INODE]".
func parseSocketLink(link string) (inode uint64, ok bool) {
	text, isSocket := strings.CutPrefix(link, "socket:[")
	text, ended := strings.CutSuffix(text, "]")
	inode, err := strconv.ParseUint(text, 10, 64)
	return inode, isSocket && ended && err == nil
}
