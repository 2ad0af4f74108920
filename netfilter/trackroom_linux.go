package netfilter

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// ReadTrackRoom reads the room. Max is the node's (nf_conntrack_max), the same in every namespace;
// Count is the namespace's own. Max is 0 where conntrack is not loaded.
func ReadTrackRoom() (TrackRoom, error) {
	var room TrackRoom
	for file, field := range map[string]*int{"nf_conntrack_max": &room.Max, "nf_conntrack_count": &room.Count} {
		text, err := os.ReadFile("/proc/sys/net/netfilter/" + file)
		if os.IsNotExist(err) {
			return TrackRoom{}, nil
		}
		if err != nil {
			return TrackRoom{}, err
		}
		if *field, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
			return TrackRoom{}, fmt.Errorf("%s: %w", file, err)
		}
	}

	for _, file := range []string{"sockstat", "sockstat6"} {
		text, err := os.ReadFile("/proc/thread-self/net/" + file)
		if err != nil && !os.IsNotExist(err) {
			return TrackRoom{}, err
		}
		room.Sockets += parseSockstat(string(text))
	}
	return room, nil
}

// parseSockstat counts the sockets in use, as "TCP: inuse 3 orphan 0 tw 1 …" and "UDP: inuse 2 …"
// have them (proc_net(5)).
func parseSockstat(text string) (count int) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 3 || words[1] != "inuse" {
			continue
		}
		switch strings.TrimSuffix(words[0], ":") {
		case "TCP", "TCP6", "UDP", "UDP6":
			number, _ := strconv.Atoi(words[2])
			count += number
		}
	}
	return count
}
