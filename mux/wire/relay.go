package wire

import "encoding/binary"

// A shell that was started with --relay has a parent, which stays until the laptop has all of the
// shell's output (scratch-shell/busybox/relay.c). Without a terminal it begins its stdout with
// RelayGreeting, and then each side sends frames: a kind, a number of 4 bytes, the most significant
// first, and for the first two kinds from the pod, and RelayInput from the laptop, so many bytes.
//
//	from the pod                         from the laptop
//	o n  n bytes of stdout               o n  there is room for n more of stdout
//	r n  n bytes of stderr               r n  there is room for n more of stderr
//	i n  there is room for n more stdin  i n  n bytes of stdin
//	x n  the shell ended with code n     e 0  stdin has ended
//	                                     q 0  everything has arrived
//
// At first there is room for RelayInputRoom and twice RelayOutputRoom bytes.
const (
	RelayGreeting = "kdiagR1\n"

	RelayOutput    = 'o'
	RelayErrors    = 'r'
	RelayInput     = 'i'
	RelayExit      = 'x'
	RelayInputEnd  = 'e'
	RelayAllCame   = 'q'
	RelayHeadSize  = 5
	RelayInputRoom = 1 << 20
	// RelayOutputRoom holds for each of stdout and stderr.
	RelayOutputRoom = 4 << 20
)

// AppendRelayHead appends the head of a frame.
func AppendRelayHead(to []byte, kind byte, number int) []byte {
	return binary.BigEndian.AppendUint32(append(to, kind), uint32(number))
}

// On a terminal the parent writes control strings (ECMA-48, APC), which terminals do not show. Before
// the shell starts: RelayBeginStart, the session's ID, ";", a secret of RelaySecretSize hexadecimal
// digits, RelayStringEnd. After the shell's end: RelayEndStart, the secret, ";", the exit code,
// RelayStringEnd. It then waits until it reads RelayAllStart, the secret, RelayStringEnd. Without the
// secret a target could print that the shell has ended: the session's ID is in a command line.
const (
	RelayBeginStart = "\x1b_kdiag;begin;"
	RelayEndStart   = "\x1b_kdiag;end;"
	RelayAllStart   = "\x1b_kdiag;all;"
	RelayStringEnd  = "\x1b\\"
	RelaySecretSize = 32
)
