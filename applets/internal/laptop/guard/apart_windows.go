package guard

import "syscall"

// Apart keeps Ctrl-C from the other process: it ends kdiag, which then tells it.
func Apart() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
