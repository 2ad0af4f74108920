package manager

import (
	"io"
	"syscall"
	"testing"

	"kdiag/applets"
)

// TestFailedLooks goes on after looks that fail, but not for ever.
func TestFailedLooks(t *testing.T) {
	for _, c := range []struct {
		failing, looks int
	}{{3, 3 + 1 + endLooks}, {1000, failedLooks + 1}} {
		looks := 0
		w := work{
			inUse: func() (bool, error) { return true, nil },
			applicationLeft: func() (bool, error) {
				looks++
				if looks <= c.failing {
					return false, syscall.EMFILE
				}
				return looks == c.failing+1, nil
			},
		}
		w.outliveApplication(applets.Streams{Err: io.Discard})
		if looks != c.looks {
			t.Errorf("with %d looks that fail: %d looks, want %d", c.failing, looks, c.looks)
		}
	}
}
