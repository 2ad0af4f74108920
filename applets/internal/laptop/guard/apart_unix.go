//go:build unix

package guard

import "syscall"

// apart keeps the terminal's signals from the other process: Ctrl-C ends kdiag, which then tells it.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
