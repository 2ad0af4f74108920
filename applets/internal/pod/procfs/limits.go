package procfs

import (
	"bytes"
	"errors"
	"math"
	"strconv"
)

// Unlimited stands for no limit, RLIM_INFINITY (getrlimit(2)).
const Unlimited uint64 = math.MaxUint64

// ParseRealtimeTimeout finds the soft RLIMIT_RTTIME, in microseconds, in the content of
// /proc/PID/limits.
func ParseRealtimeTimeout(content []byte) (uint64, error) {
	for line := range bytes.Lines(content) {
		rest, ok := bytes.CutPrefix(line, []byte("Max realtime timeout"))
		if !ok {
			continue
		}

		fields := bytes.Fields(rest)
		if len(fields) == 0 {
			break
		}
		if string(fields[0]) == "unlimited" {
			return Unlimited, nil
		}

		return strconv.ParseUint(string(fields[0]), 10, 64)
	}

	return 0, errors.New("no realtime timeout")
}
