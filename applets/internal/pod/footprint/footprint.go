// Package footprint keeps a process small that waits in somebody else's pod,
// whose memory limit it shares.
package footprint

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
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

// Trimmer gives memory back now and then. Its zero value is ready for use.
type Trimmer struct {
	allocated uint64
	more      int
}

const (
	// trimAfter is how much is allocated between two times, in bytes: of less,
	// there is too little to give.
	trimAfter = 1 << 20
	// trims is how often memory is given back then: some of it is in use for a
	// while yet.
	trims = 4
)

// Trim gives back what is not in use any more, if much was allocated lately. To
// be called every few seconds while there is little to do.
func (t *Trimmer) Trim() {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	if allocated := sample[0].Value.Uint64(); allocated-t.allocated >= trimAfter {
		t.allocated, t.more = allocated, trims
	}
	if t.more > 0 {
		t.more--
		debug.FreeOSMemory()
	}
}
