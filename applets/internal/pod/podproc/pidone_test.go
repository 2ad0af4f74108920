package podproc

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"kdiag/applets/internal/pod/procfs"
	"kdiag/mux/wire"
)

func TestExplainDoubt(t *testing.T) {
	const id = "0123456789abcdef"
	manager := []string{"/kdiag", "manager", "--role=shell"}
	app := []string{"/app/server", "manager"}

	groups := func(paths ...string) procfs.Cgroups {
		var out procfs.Cgroups
		for _, path := range paths {
			out = append(out, procfs.Cgroup{Path: path})
		}
		return out
	}

	for _, c := range []struct {
		name     string
		evidence pidOneEvidence
		target   wire.TargetArguments
		want     bool
	}{
		{"no ID to look for", pidOneEvidence{words: app, own: groups("/a"), cgroups: groups("/b")}, wire.TargetArguments{}, false},
		{"own PID namespace", pidOneEvidence{words: manager}, wire.TargetArguments{}, true},
		{"own PID namespace, with an ID", pidOneEvidence{words: manager, own: groups("/"), cgroups: groups("/")}, wire.TargetArguments{ID: id}, true},
		{"shared PIDs", pidOneEvidence{words: app}, wire.TargetArguments{ID: id, SharedPIDs: true}, true},
		{"cgroups that tell nothing", pidOneEvidence{words: app, own: groups("/", "/"), cgroups: groups("/", "/")}, wire.TargetArguments{ID: id}, false},
		{"empty cgroup files", pidOneEvidence{words: app}, wire.TargetArguments{ID: id}, false},
		{"no cgroup files", pidOneEvidence{words: app, cgroupError: fmt.Errorf("open: %w", fs.ErrNotExist)}, wire.TargetArguments{ID: id}, false},
		{"cgroup files that are closed", pidOneEvidence{words: app, cgroupError: errors.New("permission denied")}, wire.TargetArguments{ID: id}, true},
		{"node's init, v1", pidOneEvidence{words: app, own: groups("/kubepods/x"), cgroups: groups("/")}, wire.TargetArguments{ID: id}, true},
		{"node's init, v2", pidOneEvidence{words: app, own: groups("/"), cgroups: groups("/../../../init.scope")}, wire.TargetArguments{ID: id}, true},
		{"the target, started anew", pidOneEvidence{words: app, own: groups("/"), cgroups: groups("/../cri-containerd-ffff.scope")}, wire.TargetArguments{ID: id}, false},
		{"the target, started anew, v1", pidOneEvidence{words: app, own: groups("/kubepods/pod1/a"), cgroups: groups("/kubepods/pod1/b")}, wire.TargetArguments{ID: id}, false},
		{"another pod", pidOneEvidence{words: app, own: groups("/"), cgroups: groups("/../../pod2/cri-containerd-ffff.scope")}, wire.TargetArguments{ID: id}, true},
	} {
		if got := c.evidence.explainDoubt(c.target); (got != "") != c.want {
			t.Errorf("%s: explainDoubt = %q, want one: %v", c.name, got, c.want)
		}
	}
}

func TestIsManager(t *testing.T) {
	for _, c := range []struct {
		words []string
		want  bool
	}{
		{[]string{"/kdiag", "manager", "--role=shell", "--target=app"}, true},
		{[]string{"/kdiag", "manager", "--target=app", "--role=net"}, true},
		{[]string{"/app/server", "manager"}, false},
		{[]string{"manager", "--role=shell"}, false},
		{nil, false},
	} {
		if got := isManager(c.words); got != c.want {
			t.Errorf("isManager(%q) = %v, want %v", c.words, got, c.want)
		}
	}
}
