// Package footprint keeps kdiag's processes in a pod small, since they share the pod's memory
// limit.
package footprint

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// Limits for the memory that Go's runtime takes, in bytes: beyond them the collector works harder
// rather than let the heap grow.
const (
	WaitingLimit = 16 << 20 // a process that only waits
	ServingLimit = 32 << 20 // one that passes others' connections on
)

// ReduceMemory gives back the memory that starting up took, and keeps the heap near what is in
// use, below limit if it can. Call it when the process begins to wait.
func ReduceMemory(limit int64) {
	// Each processor has its own cache of memory, and nodes have many processors.
	runtime.GOMAXPROCS(min(2, runtime.GOMAXPROCS(0)))

	debug.SetGCPercent(20)
	debug.SetMemoryLimit(limit)
	debug.FreeOSMemory()
}

// A Trimmer gives memory back now and then. Its zero value is ready for use.
type Trimmer struct {
	allocated uint64 // bytes, when memory was last given back
	rest      int    // how many more times to give memory back
}

const (
	// trimAfter is how many bytes must have been allocated since the last time to make it worth
	// while.
	trimAfter = 1 << 20
	// trims is how often memory is given back then, since some of it is in use for a while yet.
	trims = 4
)

// TrimMemory gives back what is no longer in use, if much was allocated lately. Call it every few
// seconds while there is little to do.
func (t *Trimmer) TrimMemory() {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)

	if allocated := sample[0].Value.Uint64(); allocated-t.allocated >= trimAfter {
		t.allocated, t.rest = allocated, trims
	}

	if t.rest > 0 {
		t.rest--
		debug.FreeOSMemory()
	}
}
