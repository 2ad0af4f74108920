//go:build !linux

package redirector

// descriptorLimit is for the pod alone.
func descriptorLimit() int { return 1024 }
