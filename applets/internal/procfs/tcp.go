package procfs

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// TCPState is a socket's state, as the kernel numbers them (net/tcp_states.h).
type TCPState uint8

// Two of the states.
const (
	TCPEstablished TCPState = 1
	TCPListen      TCPState = 10
)

// Socket is one TCP socket of a network namespace.
type Socket struct {
	// Local and Remote are as the socket's family has them: an IPv4 connection
	// of an IPv6 socket has IPv4-mapped ones. A listener's Remote has port 0.
	Local, Remote netip.AddrPort
	State         TCPState
	UID           uint32
	// Inode is that of the socket, as in /proc/PID/fd; 0 where no process has it.
	Inode uint64
}

// A line of /proc/net/tcp6 has under 200 bytes. A namespace with more sockets
// than maxSockets is not one that we read as a whole.
const (
	maxTCPLine = 512
	maxSockets = 1 << 16
)

// ReadTCP reads /proc/net/tcp or tcp6 (proc_pid_net(5)), whose sockets are those
// of the network namespace of the process or thread in the path. It fails for a
// line that is not as the kernel writes them, and for more than 65536 sockets.
func ReadTCP(path string) ([]Socket, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	sockets, err := parseTCP(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return sockets, nil
}

// Listening returns the listening TCP sockets, IPv4 and IPv6, of the process's
// network namespace.
func Listening() ([]Socket, error) {
	return inState(TCPListen)
}

// Established returns the established ones.
func Established() ([]Socket, error) {
	return inState(TCPEstablished)
}

// inState reads both families. A kernel without IPv6 has none of that.
func inState(state TCPState) ([]Socket, error) {
	var out []Socket
	for _, path := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		sockets, err := ReadTCP(path)
		if errors.Is(err, os.ErrNotExist) && path == "/proc/net/tcp6" {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, s := range sockets {
			if s.State == state {
				out = append(out, s)
			}
		}
	}
	return out, nil
}

func parseTCP(r io.Reader) ([]Socket, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, maxTCPLine), maxTCPLine)
	if !lines.Scan() || !strings.HasPrefix(strings.TrimSpace(lines.Text()), "sl ") {
		return nil, errors.Join(errors.New("no heading"), lines.Err())
	}
	var out []Socket
	for lines.Scan() {
		if len(out) == maxSockets {
			return nil, fmt.Errorf("more than %d sockets", maxSockets)
		}
		s, err := parseSocket(strings.Fields(lines.Text()))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", len(out)+2, err)
		}
		out = append(out, s)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return out, nil
}

// parseSocket parses the fields of get_tcp4_sock and get_tcp6_sock (net/ipv4/tcp_ipv4.c).
func parseSocket(fields []string) (s Socket, err error) {
	if len(fields) < 10 {
		return Socket{}, fmt.Errorf("%d fields, want 10 or more", len(fields))
	}
	state, stateErr := strconv.ParseUint(fields[3], 16, 8)
	uid, uidErr := strconv.ParseUint(fields[7], 10, 32)
	inode, inodeErr := strconv.ParseUint(fields[9], 10, 64)
	local, localErr := parseAddress(fields[1])
	remote, remoteErr := parseAddress(fields[2])
	if err := errors.Join(stateErr, uidErr, inodeErr, localErr, remoteErr); err != nil {
		return Socket{}, err
	}
	return Socket{Local: local, Remote: remote, State: TCPState(state), UID: uint32(uid), Inode: inode}, nil
}

// parseAddress parses an address, which is written as numbers of 32 bits in the
// host's byte order, and a port.
func parseAddress(text string) (netip.AddrPort, error) {
	hexAddress, hexPort, _ := strings.Cut(text, ":")
	words, err := hex.DecodeString(hexAddress)
	port, portErr := strconv.ParseUint(hexPort, 16, 16)
	if err != nil || portErr != nil || len(words) != 4 && len(words) != 16 {
		return netip.AddrPort{}, fmt.Errorf("address %q is not hex:port", text)
	}
	for i := 0; i < len(words); i += 4 {
		binary.NativeEndian.PutUint32(words[i:], binary.BigEndian.Uint32(words[i:]))
	}
	address, _ := netip.AddrFromSlice(words)
	return netip.AddrPortFrom(address, uint16(port)), nil
}
