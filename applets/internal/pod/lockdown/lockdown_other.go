//go:build !linux

package lockdown

// CloseProcess does nothing: kdiag does not run in pods on this system.
func CloseProcess() error { return nil }
