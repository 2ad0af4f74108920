package footprint

import (
	"math"
	"os"
	"strconv"
	"strings"
)

// noLimit is what the kernel shows for no limit, or more: the largest number of whole pages
// (mm/page_counter.h, PAGE_COUNTER_MAX).
const noLimit = math.MaxInt64 &^ (1<<16 - 1)

// ReadMemoryLimit returns the memory limit that holds for this process, in bytes, as far as the
// container sees it; 0 if it sees none. In cgroup v1 that is the least of its own and of all above
// it, so the pod's too. In cgroup v2 it sees only its own, and an ephemeral container has none.
func ReadMemoryLimit() int64 {
	return readMemoryLimit("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.stat")
}

// readMemoryLimit reads a file of cgroup v2, or else one of v1.
func readMemoryLimit(v2, v1 string) int64 {
	if content, err := os.ReadFile(v2); err == nil {
		return parseLimit(strings.TrimSpace(string(content)))
	}

	content, err := os.ReadFile(v1)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(content)) {
		if value, ok := strings.CutPrefix(line, "hierarchical_memory_limit "); ok {
			return parseLimit(strings.TrimSpace(value))
		}
	}
	return 0
}

// parseLimit returns 0 for "max", and for what the kernel shows if there is no limit.
func parseLimit(text string) int64 {
	limit, err := strconv.ParseInt(text, 10, 64)
	if err != nil || limit <= 0 || limit >= noLimit {
		return 0
	}
	return limit
}
