package procfs

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// ReadBootTime returns when the machine was started, to the second. Stat.Start counts from then.
func ReadBootTime() (time.Time, error) {
	file, err := os.Open("/proc/stat")
	if err != nil {
		return time.Time{}, err
	}
	defer file.Close()

	return parseBootTime(file)
}

// parseBootTime finds "btime", seconds since 1970, in the content of /proc/stat. The lines before
// it grow with the number of processors and interrupts.
func parseBootTime(r io.Reader) (time.Time, error) {
	const mostBytes, mostLine = 16 << 20, 1 << 20
	lines := bufio.NewScanner(io.LimitReader(r, mostBytes))
	lines.Buffer(nil, mostLine)

	for lines.Scan() {
		text, ok := strings.CutPrefix(lines.Text(), "btime ")
		if !ok {
			continue
		}

		seconds, err := strconv.ParseUint(strings.TrimSpace(text), 10, 40)
		if err != nil {
			return time.Time{}, err
		}
		return time.Unix(int64(seconds), 0), nil
	}

	return time.Time{}, errors.Join(errors.New("/proc/stat: no btime"), lines.Err())
}
