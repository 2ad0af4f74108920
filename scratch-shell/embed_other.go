//go:build !(linux && (amd64 || arm64))

package scratchshell

func embedded() ([]byte, error) { return nil, ErrPlatform }
