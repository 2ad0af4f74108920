package confine

import "golang.org/x/sys/unix"

// abis lists what programs on amd64 can call.
var abis = []abi{
	{
		arch:  unix.AUDIT_ARCH_X86_64,
		calls: collectNumbers(nativeNumber),
		clone: unix.SYS_CLONE,
		// Numbers from here on are x32's (arch/x86/entry/syscalls).
		secondABI: 0x40000000,
	},
	{arch: unix.AUDIT_ARCH_I386, calls: collectNumbers(i386Number), clone: clone32},
}
