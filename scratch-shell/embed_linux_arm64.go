package scratchshell

import "embed"

const name = "bin/busybox-linux-arm64"

// The pattern always matches the placeholder, so that the package builds without the shell.
//
//go:embed bin/busybox-linux-arm64*
var bin embed.FS
