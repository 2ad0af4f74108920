package credentials

import (
	"strings"
	"testing"

	"kdiag/applets/internal/pod/procfs"

	"golang.org/x/sys/unix"
)

// process is one of a user, with capabilities.
func process(uid int, caps ...int) procfs.Status {
	ids := procfs.IDs{Real: uid, Effective: uid, Saved: uid, FS: uid}
	s := procfs.Status{UIDs: ids, GIDs: ids}
	for _, c := range caps {
		s.Caps.Permitted |= 1 << c
		s.Caps.Effective |= 1 << c
	}
	return s
}

// TestWhyClosed asks for SYS_PTRACE only where that helps.
func TestWhyClosed(t *testing.T) {
	alike := Labels{"cri-containerd.apparmor.d (enforce)", "cri-containerd.apparmor.d (enforce)"}
	apart := Labels{"strict (enforce)", "cri-containerd.apparmor.d (enforce)"}
	unconfined := Labels{"unconfined", "system_u:system_r:container_t:s0"}
	for _, c := range []struct {
		name        string
		target, own procfs.Status
		labels      Labels
		want        string
		ptraceHelps bool
	}{
		{"another user", process(1000), process(0), alike, "the target runs as user 1000, group 1000, this container as 0, 0", true},
		{"more capabilities", process(0, unix.CAP_NET_ADMIN), process(0), alike, "has capabilities that this container has not: NET_ADMIN", true},
		{"not dumpable", process(0), process(0), alike, "not dumpable", true},
		{"no security module", process(0), process(0), Labels{}, "not dumpable", true},
		{"another AppArmor profile", process(0), process(0), apart, `the target is confined as "strict (enforce)", this container as "cri-containerd.apparmor.d (enforce)"`, false},
		{"another user and another profile", process(1000), process(0), apart, "the target runs as user 1000", true},
		{"with SYS_PTRACE, another profile", process(1000), process(0, unix.CAP_SYS_PTRACE), unconfined, `the target is confined as "unconfined"`, false},
		{"with SYS_PTRACE, the same profile", process(0), process(0, unix.CAP_SYS_PTRACE), alike, "a security module of the node's refuses it", false},
	} {
		why, helps := WhyClosed(c.target, c.own, c.labels)
		if !strings.Contains(why, c.want) || helps != c.ptraceHelps {
			t.Errorf("%s: WhyClosed = %q, %v, want %q, %v", c.name, why, helps, c.want, c.ptraceHelps)
		}
	}
}
