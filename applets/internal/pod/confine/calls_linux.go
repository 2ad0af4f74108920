package confine

import "golang.org/x/sys/unix"

// adminCall is a system call that containerd's default profile, of 1.6 to 2.4, allows
// only to a container with SYS_ADMIN (contrib/seccomp, "CAP_SYS_ADMIN").
type adminCall struct {
	name string
	// native, i386 and arm are its numbers for the program's own architecture and
	// for the 32-bit programs that amd64 and arm64 run. A test compares them with
	// those of golang.org/x/sys, which takes them from the kernel.
	native, i386, arm uint32
}

// noCall is the number of a call that an architecture does not have.
const noCall = ^uint32(0)

var adminCalls = []adminCall{
	{"bpf", unix.SYS_BPF, 357, 386},
	{"fanotify_init", unix.SYS_FANOTIFY_INIT, 338, 367},
	{"fsconfig", unix.SYS_FSCONFIG, 431, 431},
	{"fsmount", unix.SYS_FSMOUNT, 432, 432},
	{"fsopen", unix.SYS_FSOPEN, 430, 430},
	{"fspick", unix.SYS_FSPICK, 433, 433},
	{"lookup_dcookie", unix.SYS_LOOKUP_DCOOKIE, 253, 249},
	{"mount", unix.SYS_MOUNT, 21, 21},
	{"mount_setattr", unix.SYS_MOUNT_SETATTR, 442, 442},
	{"move_mount", unix.SYS_MOVE_MOUNT, 429, 429},
	{"name_to_handle_at", unix.SYS_NAME_TO_HANDLE_AT, 341, 370},
	{"open_tree", unix.SYS_OPEN_TREE, 428, 428},
	{"perf_event_open", unix.SYS_PERF_EVENT_OPEN, 336, 364},
	{"quotactl", unix.SYS_QUOTACTL, 131, 131},
	{"quotactl_fd", unix.SYS_QUOTACTL_FD, 443, 443},
	{"setdomainname", unix.SYS_SETDOMAINNAME, 121, 121},
	{"sethostname", unix.SYS_SETHOSTNAME, 74, 74},
	{"setns", unix.SYS_SETNS, 346, 375},
	{"syslog", unix.SYS_SYSLOG, 103, 103},
	{"umount", noCall, 22, noCall},
	{"umount2", unix.SYS_UMOUNT2, 52, 52},
	{"unshare", unix.SYS_UNSHARE, 310, 337},
}

// clone32 is clone's number for the 32-bit programs of both architectures.
const clone32 = 120

func nativeNumber(c adminCall) uint32 { return c.native }
func i386Number(c adminCall) uint32   { return c.i386 }
func armNumber(c adminCall) uint32    { return c.arm }

// collectNumbers returns the numbers of all adminCalls in one architecture.
func collectNumbers(number func(adminCall) uint32) []uint32 {
	var numbers []uint32
	for _, c := range adminCalls {
		if n := number(c); n != noCall {
			numbers = append(numbers, n)
		}
	}
	return numbers
}
