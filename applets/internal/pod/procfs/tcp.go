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
// A UDP socket has one too: established if it is connected, else closed.
type TCPState uint8

// Some of the states.
const (
	TCPEstablished TCPState = 1
	TCPClose       TCPState = 7
	TCPListen      TCPState = 10
)

var tcpStates = strings.Fields("ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT1 FIN_WAIT2 TIME_WAIT CLOSE CLOSE_WAIT LAST_ACK LISTEN CLOSING NEW_SYN_RECV")

// String is the state's name in the kernel, without its TCP_.
func (s TCPState) String() string {
	if s >= 1 && int(s) <= len(tcpStates) {
		return tcpStates[s-1]
	}
	return strconv.Itoa(int(s))
}

// Socket is one TCP or UDP socket of a network namespace.
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

// EachSocket calls f with each socket of /proc/net/tcp, tcp6, udp or udp6, until
// f returns false. It keeps none, so there is no bound on their number. It fails
// for a line that is not as the kernel writes them.
func EachSocket(path string, f func(Socket) bool) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := eachSocket(file, f); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
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
	var out []Socket
	tooMany := false
	err := eachSocket(r, func(s Socket) bool {
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

func eachSocket(r io.Reader, f func(Socket) bool) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, maxTCPLine), maxTCPLine)
	if !lines.Scan() || !strings.HasPrefix(strings.TrimSpace(lines.Text()), "sl ") {
		return errors.Join(errors.New("no heading"), lines.Err())
	}

	for number := 2; lines.Scan(); number++ {
		s, err := parseSocket(strings.Fields(lines.Text()))
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if !f(s) {
			return nil
		}
	}

	return lines.Err()
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
