package confine

import "golang.org/x/sys/unix"

// abis lists what programs on arm64 can call.
var abis = []abi{
	{arch: unix.AUDIT_ARCH_AARCH64, calls: collectNumbers(nativeNumber), clone: unix.SYS_CLONE},
	{arch: unix.AUDIT_ARCH_ARM, calls: collectNumbers(armNumber), clone: clone32},
}
