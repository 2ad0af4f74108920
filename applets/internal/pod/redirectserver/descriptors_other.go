//go:build !linux

package redirectserver

// descriptorLimit returns what Linux has by default: the manager runs in pods alone.
func descriptorLimit() int { return 1024 }
