package kube

import (
	"reflect"
	"testing"
)

func TestGroupByResource(t *testing.T) {
	got := groupByResource([]accessRight{rightGetPods, rightWatchPods, rightPatchEphemeral, rightCreateExec, rightGetLog})
	want := []string{"get, watch pods", "patch pods/ephemeralcontainers", "create pods/exec", "get pods/log"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("grouped = %q, want %q", got, want)
	}
}

func TestRightsHint(t *testing.T) {
	r := RightsReview{Lacking: []string{"get pods/log", "create pods/exec"}}
	if got, want := r.Hint(), `ask for a role with the verb "get" on pods/log, the verb "create" on pods/exec`; got != want {
		t.Errorf("Hint = %q, want %q", got, want)
	}
	if got := (RightsReview{}).Hint(); got != "" {
		t.Errorf("Hint where nothing is lacking = %q, want none", got)
	}
}

func TestProfileAtLevel(t *testing.T) {
	for level, want := range map[string]struct {
		taken Profile
		net   bool
	}{
		"": {ProfileChroot, true}, "privileged": {ProfileChroot, true},
		"baseline": {ProfileBaseline, false}, "restricted": {ProfileRestricted, false},
	} {
		if taken, net := ProfileAtLevel(level); taken != want.taken || net != want.net {
			t.Errorf("ProfileAtLevel(%q) = %s, %v, want %s, %v", level, taken, net, want.taken, want.net)
		}
	}
}

func TestCaptureProfileAtLevel(t *testing.T) {
	for level, want := range map[string]Profile{"": ProfileRaw, "privileged": ProfileRaw, "baseline": ProfileRawDefault, "restricted": ""} {
		if taken, admitted := CaptureProfileAtLevel(level); taken != want || admitted != (want != "") {
			t.Errorf("CaptureProfileAtLevel(%q) = %q, %v, want %q", level, taken, admitted, want)
		}
	}
}

// TestListNeeded wants no right to list pods for a pod that is given by name.
func TestListNeeded(t *testing.T) {
	shell := rightsOf[0]
	for pod, want := range map[string][]string{
		"":    {"get, list pods", "patch pods/ephemeralcontainers", "create pods/exec"},
		"web": {"get pods", "patch pods/ephemeralcontainers", "create pods/exec"},
	} {
		if got := groupByResource(shell.listNeeded(pod)); !reflect.DeepEqual(got, want) {
			t.Errorf("shell of pod %q needs %q, want %q", pod, got, want)
		}
	}
}
