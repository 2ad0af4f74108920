//go:build unix

package guard

import "syscall"

// Apart keeps the terminal's signals from the other process: Ctrl-C ends kdiag, which then tells it.
func Apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
