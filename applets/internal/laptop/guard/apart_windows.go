package guard

import "syscall"

// apart keeps Ctrl-C from the other process: it ends kdiag, which then tells it.
func apart() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
