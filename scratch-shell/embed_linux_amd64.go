package scratchshell

import "embed"

const shellFile = "bin/busybox-linux-amd64"

// The pattern always matches the placeholder, so that the package builds even
// without the shell.
//
//go:embed bin/busybox-linux-amd64*
var embedded embed.FS
