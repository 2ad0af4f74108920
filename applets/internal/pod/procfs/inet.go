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

// A TCPState tells a socket's state by the kernel's number (net/tcp_states.h). A UDP socket has
// one too: established if it is connected, else closed.
type TCPState uint8

// Some of the states.
const (
	TCPEstablished TCPState = 1
	TCPClose       TCPState = 7
	TCPListen      TCPState = 10
)

var tcpStates = strings.Fields("ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT1 FIN_WAIT2 TIME_WAIT CLOSE CLOSE_WAIT LAST_ACK LISTEN CLOSING NEW_SYN_RECV")

// String returns the state's name in the kernel, without its TCP_.
func (s TCPState) String() string {
	if s >= 1 && int(s) <= len(tcpStates) {
		return tcpStates[s-1]
	}
	return strconv.Itoa(int(s))
}

// An InetSocket is a TCP or UDP socket of a network namespace.
type InetSocket struct {
	// Local and Remote are as the socket's family has them: an IPv4 connection
	// of an IPv6 socket has IPv4-mapped ones. A listener's Remote has port 0.
	Local, Remote netip.AddrPort
	State         TCPState
	UID           uint32
	// Inode is that of the socket, as in /proc/PID/fd; 0 if no process has it.
	Inode uint64
}

// A line of /proc/net/tcp6 has under 200 bytes. Of a namespace with more than maxSockets sockets,
// the list is not read as a whole.
const (
	maxTCPLine = 512
	maxSockets = 1 << 16
)

// EachInetSocket calls f with each socket of /proc/net/tcp, tcp6, udp or udp6 (proc_pid_net(5)),
// until f returns false. It keeps none, so there is no bound on their number. It fails for a line
// that is not as the kernel writes them.
func EachInetSocket(path string, f func(InetSocket) bool) error {
	return scanFile(path, func(r io.Reader) error { return scanInetSockets(r, f) })
}

// scanFile opens a file for scan, and puts its path before the error.
func scanFile(path string, scan func(io.Reader) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()

	if err := scan(file); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}

	return nil
}

// ListListeners returns the listening TCP sockets, IPv4 and IPv6, of the process's network
// namespace.
func ListListeners() ([]InetSocket, error) {
	return listInState(TCPListen)
}

// ListEstablished returns the established TCP sockets as ListListeners does the listening ones.
func ListEstablished() ([]InetSocket, error) {
	return listInState(TCPEstablished)
}

// listInState returns the TCP sockets in a state, of both families.
func listInState(state TCPState) ([]InetSocket, error) {
	var out []InetSocket
	for _, path := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		sockets, err := readTCP(path)
		// A kernel without IPv6 has no such file.
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

// readTCP reads all of /proc/net/tcp or tcp6.
func readTCP(path string) (sockets []InetSocket, err error) {
	err = scanFile(path, func(r io.Reader) (err error) {
		sockets, err = parseTCP(r)
		return err
	})
	return sockets, err
}

// parseTCP parses all of /proc/net/tcp or tcp6. It fails for more than maxSockets sockets, since
// it keeps them.
func parseTCP(r io.Reader) ([]InetSocket, error) {
	var out []InetSocket
	tooMany := false

	err := scanInetSockets(r, func(s InetSocket) bool {
		if tooMany = len(out) == maxSockets; !tooMany {
			out = append(out, s)
		}
		return !tooMany
	})

	if tooMany {
		err = fmt.Errorf("more than %d sockets", maxSockets)
	}
	if err != nil {
		return nil, err
	}

	return out, nil
}

// scanInetSockets calls f with each socket that is read, until f returns false.
func scanInetSockets(r io.Reader, f func(InetSocket) bool) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, maxTCPLine), maxTCPLine)
	if !lines.Scan() || !strings.HasPrefix(strings.TrimSpace(lines.Text()), "sl ") {
		return errors.Join(errors.New("no heading"), lines.Err())
	}

	for number := 2; lines.Scan(); number++ {
		s, err := parseInetSocket(strings.Fields(lines.Text()))
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if !f(s) {
			return nil
		}
	}

	return lines.Err()
}

// parseInetSocket parses the fields that get_tcp4_sock and get_tcp6_sock write
// (net/ipv4/tcp_ipv4.c).
func parseInetSocket(fields []string) (s InetSocket, err error) {
	if len(fields) < 10 {
		return InetSocket{}, fmt.Errorf("%d fields, want 10 or more", len(fields))
	}

	state, stateErr := strconv.ParseUint(fields[3], 16, 8)
	uid, uidErr := strconv.ParseUint(fields[7], 10, 32)
	inode, inodeErr := strconv.ParseUint(fields[9], 10, 64)
	local, localErr := parseAddress(fields[1])
	remote, remoteErr := parseAddress(fields[2])
	if err := errors.Join(stateErr, uidErr, inodeErr, localErr, remoteErr); err != nil {
		return InetSocket{}, err
	}

	return InetSocket{Local: local, Remote: remote, State: TCPState(state), UID: uint32(uid), Inode: inode}, nil
}

// parseAddress parses an address and a port. The kernel writes an address as numbers of 32 bits in
// the host's byte order.
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
