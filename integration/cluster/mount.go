package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
)

// mount carries a line of /proc/self/mountinfo.
type mount struct{ point, fstype string }

// readMounts reads the mounts of this mount namespace.
func readMounts() ([]mount, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseMounts(string(text)), nil
}

// parseMounts parses the format of proc_pid_mountinfo(5).
func parseMounts(text string) []mount {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var found []mount
	for line := range strings.Lines(text) {
		before, after, ok := strings.Cut(line, " - ")
		fields, rest := strings.Fields(before), strings.Fields(after)
		if ok && len(fields) > 4 && len(rest) > 0 {
			found = append(found, mount{unescape.Replace(fields[4]), rest[0]})
		}
	}
	return found
}

// unmountAll unmounts what containerd and the kubelet have mounted in the state
// directory.
func (c *cluster) unmountAll(ctx context.Context) error {
	for {
		all, err := readMounts()
		if err != nil {
			return err
		}

		left := 0
		for _, m := range slices.Backward(all) {
			if !strings.HasPrefix(m.point, c.dir+"/") {
				continue
			}
			left++
			if err := syscall.Unmount(m.point, syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) {
				return fmt.Errorf("unmount %s: %w", m.point, err)
			}
		}

		if left == 0 {
			return nil
		}
		if err := sleep(ctx, 0); err != nil {
			return err
		}
	}
}
