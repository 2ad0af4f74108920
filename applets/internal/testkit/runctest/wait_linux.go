package runctest

import "time"

// WaitUntil waits until f is true and returns true, or gives up long after it should have been.
func WaitUntil(f func() bool) bool {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if f() {
			return true
		}
	}
	return f()
}
