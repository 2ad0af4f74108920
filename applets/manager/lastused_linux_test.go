package manager

import (
	"testing"
	"time"
)

// TestLastUsed takes no use that is yet to come: it would keep the container for as long as
// somebody likes.
func TestLastUsed(t *testing.T) {
	now := time.Now()
	busy := now.Add(-time.Minute)
	for _, c := range []struct {
		name       string
		used, want time.Time
	}{
		{"never", time.Time{}, busy},
		{"before", busy.Add(-time.Second), busy},
		{"since", busy.Add(time.Second), busy.Add(time.Second)},
		{"yet to come", now.Add(time.Hour), busy},
	} {
		w := work{lastUse: func() time.Time { return c.used }}
		if got := w.lastUsed(busy, now); !got.Equal(c.want) {
			t.Errorf("%s: lastUsed = %v, want %v", c.name, got, c.want)
		}
	}

	if got := (work{}).lastUsed(busy, now); !got.Equal(busy) {
		t.Errorf("without a mark: lastUsed = %v, want %v", got, busy)
	}
}
