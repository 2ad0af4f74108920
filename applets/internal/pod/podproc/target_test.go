package podproc

import (
	"testing"

	"kdiag/applets/internal/pod/procfs"
)

func TestFirstOf(t *testing.T) {
	cases := []struct {
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
	}

	for _, c := range cases {
		got, ok := firstOf(c.found)
		if got.PID != c.want || ok != (c.want != 0) {
			t.Errorf("%s: firstOf = %d, %v, want %d", c.name, got.PID, ok, c.want)
		}
	}
}
