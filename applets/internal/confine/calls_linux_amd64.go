package confine

import "golang.org/x/sys/unix"

var native = refused{
	arch: unix.AUDIT_ARCH_X86_64,
	from: 0x40000000,
	calls: []uint32{
		unix.SYS_ACCT,
		unix.SYS_ADD_KEY,
		unix.SYS_CLOCK_SETTIME,
		unix.SYS_DELETE_MODULE,
		unix.SYS_FINIT_MODULE,
		unix.SYS_GET_MEMPOLICY,
		unix.SYS_INIT_MODULE,
		unix.SYS_IOPERM,
		unix.SYS_IOPL,
		unix.SYS_IO_URING_ENTER,
		unix.SYS_IO_URING_REGISTER,
		unix.SYS_IO_URING_SETUP,
		unix.SYS_KEXEC_FILE_LOAD,
		unix.SYS_KEXEC_LOAD,
		unix.SYS_KEYCTL,
		unix.SYS_MBIND,
		unix.SYS_MIGRATE_PAGES,
		unix.SYS_MOVE_PAGES,
		unix.SYS_NFSSERVCTL,
		unix.SYS_OPEN_BY_HANDLE_AT,
		unix.SYS_PIVOT_ROOT,
		unix.SYS_REBOOT,
		unix.SYS_REQUEST_KEY,
		unix.SYS_SET_MEMPOLICY,
		unix.SYS_SET_MEMPOLICY_HOME_NODE,
		unix.SYS_SETTIMEOFDAY,
		unix.SYS_SWAPOFF,
		unix.SYS_SWAPON,
		unix.SYS_SYSFS,
		unix.SYS__SYSCTL,
		unix.SYS_USELIB,
		unix.SYS_USERFAULTFD,
		unix.SYS_USTAT,
		unix.SYS_VHANGUP,
	},
}

// foreign are 32-bit programs, by the kernel's numbers for them.
var foreign = refused{
	arch: unix.AUDIT_ARCH_I386,
	calls: []uint32{
		51,  // acct
		286, // add_key
		264, // clock_settime
		404, // clock_settime64
		129, // delete_module
		350, // finit_module
		275, // get_mempolicy
		128, // init_module
		101, // ioperm
		110, // iopl
		426, // io_uring_enter
		427, // io_uring_register
		425, // io_uring_setup
		283, // kexec_load
		288, // keyctl
		274, // mbind
		294, // migrate_pages
		317, // move_pages
		169, // nfsservctl
		342, // open_by_handle_at
		217, // pivot_root
		88,  // reboot
		287, // request_key
		276, // set_mempolicy
		450, // set_mempolicy_home_node
		79,  // settimeofday
		25,  // stime
		115, // swapoff
		87,  // swapon
		135, // sysfs
		149, // _sysctl
		86,  // uselib
		374, // userfaultfd
		62,  // ustat
		111, // vhangup
		166, // vm86
		113, // vm86old
	},
}
