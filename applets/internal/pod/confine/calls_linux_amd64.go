package confine

import "golang.org/x/sys/unix"

var native = refused{
	arch:   unix.AUDIT_ARCH_X86_64,
	clone:  unix.SYS_CLONE,
	clone3: unix.SYS_CLONE3,
	from:   0x40000000,
	calls: []uint32{
		unix.SYS_BPF, unix.SYS_FANOTIFY_INIT, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSOPEN, unix.SYS_FSPICK,
		unix.SYS_LOOKUP_DCOOKIE, unix.SYS_MOUNT, unix.SYS_MOUNT_SETATTR, unix.SYS_MOVE_MOUNT, unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_OPEN_TREE,
		unix.SYS_PERF_EVENT_OPEN, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD, unix.SYS_SETDOMAINNAME, unix.SYS_SETHOSTNAME,
		unix.SYS_SETNS, unix.SYS_SYSLOG, unix.SYS_UMOUNT2, unix.SYS_UNSHARE,
	},
}

// foreign are 32-bit programs, by the kernel's numbers for them (arch/x86/entry/syscalls/syscall_32.tbl).
var foreign = refused{
	arch:   unix.AUDIT_ARCH_I386,
	clone:  120,
	clone3: 435,
	calls: []uint32{
		357, // bpf
		338, // fanotify_init
		431, // fsconfig
		432, // fsmount
		430, // fsopen
		433, // fspick
		253, // lookup_dcookie
		21,  // mount
		442, // mount_setattr
		429, // move_mount
		341, // name_to_handle_at
		428, // open_tree
		336, // perf_event_open
		131, // quotactl
		443, // quotactl_fd
		121, // setdomainname
		74,  // sethostname
		346, // setns
		103, // syslog
		22,  // umount
		52,  // umount2
		310, // unshare
	},
}
