package doctor

import (
	"strings"
	"testing"

	"kdiag/kube"
)

// TestDoubtChanged wants no ✓ beside a container of which the cluster took what it is to have.
func TestDoubtChanged(t *testing.T) {
	passed := passedCheck(nameRedir, "a container with NET_ADMIN is allowed")
	if got := doubtChanged(passed, nil); got != passed {
		t.Errorf("doubtChanged(nil) = %+v, want it as it was", got)
	}

	got := doubtChanged(passed, &kube.ChangedError{Container: "kdiag-net-abcde", Changes: []string{"capabilities dropped: NET_ADMIN"}})
	if got.Status != Unknown || !strings.Contains(got.Detail, "kdiag-net-abcde") || !strings.Contains(got.Detail, "dropped: NET_ADMIN") {
		t.Errorf("doubtChanged = %+v, want it unknown, with what was changed", got)
	}
}
