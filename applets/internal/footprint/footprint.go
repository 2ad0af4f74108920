// Package footprint keeps a process small that waits in somebody else's pod,
// whose memory limit it shares.
package footprint

import (
	"runtime"
	"runtime/debug"
)

// Limit bounds the memory that Go's runtime takes, in bytes: beyond it the
// collector works harder rather than let the heap grow.
const Limit = 16 << 20

// Reduce gives the memory that starting up took back to the system, and keeps
// the heap near what is in use. To be called when the process begins to wait.
func Reduce() {
	// Each processor has a cache of memory of its own; nodes have many.
	runtime.GOMAXPROCS(min(2, runtime.GOMAXPROCS(0)))
	debug.SetGCPercent(20)
	debug.SetMemoryLimit(Limit)
	debug.FreeOSMemory()
}
