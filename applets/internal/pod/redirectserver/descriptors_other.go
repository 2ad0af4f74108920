//go:build !linux

package redirectserver

// descriptorLimit is for the pod alone.
func descriptorLimit() int { return 1024 }
