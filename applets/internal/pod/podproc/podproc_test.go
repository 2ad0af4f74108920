package podproc

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"kdiag/applets/internal/pod/procfs"
)

func TestFirstOf(t *testing.T) {
	for _, c := range []struct {
		name  string
		found []procfs.Stat
		want  int
	}{
		{"alone in its PID namespace", []procfs.Stat{{PID: 1}}, 1},
		{"with children", []procfs.Stat{{PID: 30, Parent: 20, Start: 3}, {PID: 20, Parent: 7, Start: 2}, {PID: 40, Parent: 30, Start: 4}}, 20},
		{"with an exec'd process", []procfs.Stat{{PID: 9, Parent: 0, Start: 50}, {PID: 20, Parent: 0, Start: 2}}, 20},
		{"PIDs wrapped round", []procfs.Stat{{PID: 300, Parent: 5, Start: 2}, {PID: 20, Parent: 300, Start: 3}, {PID: 21, Parent: 5, Start: 9}}, 300},
		{"same clock tick", []procfs.Stat{{PID: 31, Parent: 5, Start: 2}, {PID: 30, Parent: 5, Start: 2}}, 30},
		{"same clock tick, PIDs wrapped round", []procfs.Stat{{PID: 20, Parent: 300, Start: 2}, {PID: 300, Parent: 5, Start: 2}}, 300},
		{"with an older zombie", []procfs.Stat{{PID: 9, State: 'Z', Start: 1}, {PID: 20, Start: 2}}, 20},
		{"none", nil, 0},
		{"none but a zombie", []procfs.Stat{{PID: 9, State: 'Z'}}, 0},
	} {
		got, ok := firstOf(c.found)
		if got.PID != c.want || ok != (c.want != 0) {
			t.Errorf("%s: firstOf = %d, %v, want %d", c.name, got.PID, ok, c.want)
		}
	}
}

func TestDoubt(t *testing.T) {
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
		name  string
		facts facts
		of    Container
		want  bool
	}{
		{"no ID to look for", facts{words: app, own: groups("/a"), cgroups: groups("/b")}, Container{}, false},
		{"own PID namespace", facts{words: manager}, Container{}, true},
		{"own PID namespace, with an ID", facts{words: manager, own: groups("/"), cgroups: groups("/")}, Container{ID: id}, true},
		{"shared PIDs", facts{words: app}, Container{ID: id, SharedPIDs: true}, true},
		{"cgroups that tell nothing", facts{words: app, own: groups("/", "/"), cgroups: groups("/", "/")}, Container{ID: id}, false},
		{"empty cgroup files", facts{words: app}, Container{ID: id}, false},
		{"no cgroup files", facts{words: app, cgroupError: fmt.Errorf("open: %w", fs.ErrNotExist)}, Container{ID: id}, false},
		{"cgroup files that are closed", facts{words: app, cgroupError: errors.New("permission denied")}, Container{ID: id}, true},
		{"node's init, v1", facts{words: app, own: groups("/kubepods/x"), cgroups: groups("/")}, Container{ID: id}, true},
		{"node's init, v2", facts{words: app, own: groups("/"), cgroups: groups("/../../../init.scope")}, Container{ID: id}, true},
		{"another container", facts{words: app, own: groups("/"), cgroups: groups("/../cri-containerd-ffff.scope")}, Container{ID: id}, true},
	} {
		if got := c.facts.doubt(c.of); (got != "") != c.want {
			t.Errorf("%s: doubt = %q, want one: %v", c.name, got, c.want)
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
