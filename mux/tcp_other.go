//go:build !unix

package mux

// WaitReadable returns at once, so Read waits while it holds its buffer. That costs the laptop's
// memory, not a pod's.
func (t *TCP) WaitReadable() error { return nil }
