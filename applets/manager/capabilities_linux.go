package manager

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// keepCapabilities gives up every capability but those of the first 32 that it
// is given, on all threads. What is exec'd in the container gets the
// container's all the same, from the runtime.
func keepCapabilities(keep ...int) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	for _, capability := range keep {
		sets[0].Effective |= 1 << capability
	}
	sets[0].Permitted = sets[0].Effective
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&sets[0])), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
