//go:build !(linux && (amd64 || arm64))

package scratchshell

import "embed"

const name = ""

var bin embed.FS
