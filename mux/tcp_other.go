//go:build !linux && !darwin

package mux

// isDeadSocket is not known here.
func isDeadSocket(int) bool { return false }

// socketDelivery is not known here: a reset drops what was written and not sent yet.
func socketDelivery(int) delivery { return delivery{} }
