// Package footprint keeps a process small that waits in somebody else's pod,
// whose memory limit it shares.
package footprint

import (
	"runtime"
	"runtime/debug"
)

// What bounds the memory that Go's runtime takes, in bytes: beyond it the
// collector works harder rather than let the heap grow.
const (
	Waiting = 16 << 20 // a process that only waits
	Serving = 40 << 20 // one that passes others' connections on
)

// Reduce gives the memory that starting up took back to the system, and keeps
// the heap near what is in use, below limit if it can. To be called when the
// process begins to wait.
func Reduce(limit int64) {
	// Each processor has a cache of memory of its own; nodes have many.
	runtime.GOMAXPROCS(min(2, runtime.GOMAXPROCS(0)))
	debug.SetGCPercent(20)
	debug.SetMemoryLimit(limit)
	debug.FreeOSMemory()
}
