package inspect

import (
	"bytes"
	"strconv"
	"strings"
)

// mostPasswd is how much of /etc/passwd is read, in bytes.
const mostPasswd = 256 << 10

// parsePasswd reads the users' names by their IDs (passwd(5)). Of several with
// the same ID the first counts. A line that is none is passed over, as the last
// one is where the end of the file was cut off.
func parsePasswd(content []byte) map[int]string {
	names := map[int]string{}
	for line := range bytes.Lines(content) {
		fields := strings.Split(string(line), ":")
		if len(fields) < 4 || fields[0] == "" {
			continue
		}
		uid, err := strconv.ParseUint(fields[2], 10, 32)
		if _, known := names[int(uid)]; err == nil && !known {
			names[int(uid)] = fields[0]
		}
	}

	return names
}
