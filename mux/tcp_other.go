//go:build !unix

package mux

// WaitReadable returns at once: Read waits, with its buffer held. That is the
// laptop's memory, not a pod's.
func (t *TCP) WaitReadable() error { return nil }
