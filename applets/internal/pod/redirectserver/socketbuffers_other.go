//go:build !linux

package redirectserver

import "kdiag/mux"

// limitSocketBuffers leaves it to the kernel: redirects exist on Linux alone.
func limitSocketBuffers(*mux.TCP, int, int) {}
