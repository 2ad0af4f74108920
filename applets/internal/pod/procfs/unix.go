package procfs

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A UnixSocket is a UNIX domain socket of a network namespace.
type UnixSocket struct {
	Listening bool
	Inode     uint64
	// Path begins with "@" for a socket in the abstract namespace (unix(7)), is
	// empty for one without a name, and may hold any byte but NUL.
	Path string
}

// A name has 108 bytes at most (unix(7)), what stands before it under 60.
const maxUnixLine = 512

// EachUnixSocket calls f with each socket of /proc/net/unix, until f returns false. It passes over
// lines that are not as the kernel writes them: a name that contains a newline produces such lines,
// and anybody may choose a name.
func EachUnixSocket(path string, f func(UnixSocket) bool) error {
	return scanFile(path, func(r io.Reader) error { return scanUnixSockets(r, f) })
}

// scanUnixSockets calls f with each socket that is read, until f returns false.
func scanUnixSockets(r io.Reader, f func(UnixSocket) bool) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, maxUnixLine), maxUnixLine)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "Num ") {
		return fmt.Errorf("no heading: %w", orUnexpectedEOF(lines.Err()))
	}

	for lines.Scan() {
		if s, ok := parseUnixSocket(lines.Text()); ok && !f(s) {
			return nil
		}
	}

	return lines.Err()
}

// orUnexpectedEOF returns err, or io.ErrUnexpectedEOF if there is none.
func orUnexpectedEOF(err error) error {
	if err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}

// acceptCon flags a socket that listens, __SO_ACCEPTCON (linux/net.h).
const acceptCon = 1 << 16

// parseUnixSocket parses a line that unix_seq_show writes (net/unix/af_unix.c): address,
// references, protocol, flags, type, state, inode, and a blank and the name if there is one.
func parseUnixSocket(line string) (UnixSocket, bool) {
	var fields [7]string
	for i := range fields {
		line = strings.TrimLeft(line, " ")
		end := strings.IndexByte(line, ' ')
		if end < 0 {
			end = len(line)
		}
		fields[i], line = line[:end], line[end:]
	}

	flags, flagsErr := strconv.ParseUint(fields[3], 16, 32)
	inode, inodeErr := strconv.ParseUint(fields[6], 10, 64)
	if !strings.HasSuffix(fields[0], ":") || flagsErr != nil || inodeErr != nil {
		return UnixSocket{}, false
	}

	return UnixSocket{Listening: flags&acceptCon != 0, Inode: inode, Path: strings.TrimPrefix(line, " ")}, true
}
