//go:build !linux

package netfilter

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"syscall"
)

func notImplemented() error {
	return fmt.Errorf("netfilter: not implemented on %s/%s", runtime.GOOS, runtime.GOARCH)
}

// Open fails, because only Linux has netfilter.
func Open(string, Config) (Backend, error) { return nil, notImplemented() }

// OriginalDestination fails, because only Linux has netfilter.
func OriginalDestination(syscall.Conn) (netip.AddrPort, error) {
	return netip.AddrPort{}, notImplemented()
}

// ControlMark returns a function that fails, because only Linux has SO_MARK.
func ControlMark(uint32) func(network, address string, c syscall.RawConn) error {
	return func(string, string, syscall.RawConn) error { return notImplemented() }
}

// ControlBound returns a function that fails, because only Linux has SO_MARK.
func ControlBound(uint32, func(port uint16) error) func(network, address string, c syscall.RawConn) error {
	return func(string, string, syscall.RawConn) error { return notImplemented() }
}

// DetectMesh fails, because only Linux has netfilter.
func DetectMesh() (string, error) { return "", notImplemented() }

// Connect fails, because only Linux has netfilter.
func (*Trial) Connect(context.Context) error { return notImplemented() }

// ReadTrackRoom fails, because only Linux has conntrack.
func ReadTrackRoom() (TrackRoom, error) { return TrackRoom{}, notImplemented() }

// ForgetListeners fails, because only Linux has conntrack.
func ForgetListeners([]uint16) error { return notImplemented() }

// ForgetDeadListeners fails, because only Linux has conntrack.
func ForgetDeadListeners(func(port uint16) bool) error { return notImplemented() }
