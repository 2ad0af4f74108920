package scratchshell

import "embed"

// The pattern always matches the placeholder, so that the package builds without the shell.
//
//go:embed bin/busybox-linux-amd64*
var bin embed.FS

func embedded() ([]byte, error) { return read(bin, "bin/busybox-linux-amd64") }
