//go:build !linux

package netfilter

import (
	"fmt"
	"net/netip"
	"runtime"
	"syscall"
)

func notImplemented() error {
	return fmt.Errorf("netfilter: not implemented on %s/%s", runtime.GOOS, runtime.GOARCH)
}

// Open fails: netfilter is Linux's.
func Open(string, Config) (Backend, error) { return nil, notImplemented() }

// OriginalDestination fails: netfilter is Linux's.
func OriginalDestination(syscall.Conn) (netip.AddrPort, error) {
	return netip.AddrPort{}, notImplemented()
}

// ControlMark returns a function that fails: SO_MARK is Linux's.
func ControlMark(uint32) func(network, address string, c syscall.RawConn) error {
	return func(string, string, syscall.RawConn) error { return notImplemented() }
}

// Mesh fails: netfilter is Linux's.
func Mesh() (string, error) { return "", notImplemented() }
