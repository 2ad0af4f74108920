package inspect

import (
	"bytes"
	"strconv"
	"strings"
)

// maxPasswd bounds what is read of /etc/passwd, in bytes.
const maxPasswd = 256 << 10

// parsePasswd reads the users' names by their IDs (passwd(5)). Of several users with the same ID
// the first counts. It passes over lines that are malformed, as the last one may be if the file was
// cut off.
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
