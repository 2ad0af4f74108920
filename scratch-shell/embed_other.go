//go:build !(linux && (amd64 || arm64))

package scratchshell

import "embed"

const shellFile = ""

var embedded embed.FS
