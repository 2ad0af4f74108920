package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// settings lists settings of the kernel that are the whole machine's, with the least
// that the cluster needs. The kubelet takes an inotify instance for every log that
// is followed; many kernels allow a user 128, and the node shares them with the
// host.
var settings = map[string]int{
	"/proc/sys/fs/inotify/max_user_instances": 8192,
	"/proc/sys/fs/inotify/max_user_watches":   65536,
}

// raiseSettings raises the settings that are too low, and keeps the old ones in the
// state directory.
func (c *cluster) raiseSettings() error {
	if err := os.MkdirAll(c.Path("settings"), 0o755); err != nil {
		return err
	}

	for path, want := range settings {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}

		have, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if have >= want {
			continue
		}
		if err := os.WriteFile(c.Path("settings/"+filepath.Base(path)), text, 0o644); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(strconv.Itoa(want)), 0); err != nil {
			return err
		}
	}

	return nil
}

// restoreSettings sets what raiseSettings has raised back.
func (c *cluster) restoreSettings() error {
	for path := range settings {
		text, err := os.ReadFile(c.Path("settings/" + filepath.Base(path)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0); err != nil {
			return err
		}
	}

	return nil
}
