package credentials

import (
	"strings"
	"testing"

	"kdiag/applets/internal/pod/procfs"

	"golang.org/x/sys/unix"
)

// newStatus returns the status of a process that runs as a user, with capabilities.
func newStatus(uid int, caps ...int) procfs.Status {
	ids := procfs.IDs{Real: uid, Effective: uid, Saved: uid, FS: uid}
	s := procfs.Status{UIDs: ids, GIDs: ids}
	for _, c := range caps {
		s.Caps.Permitted |= 1 << c
		s.Caps.Effective |= 1 << c
	}
	return s
}

// TestExplainClosed asks for SYS_PTRACE only if that helps.
func TestExplainClosed(t *testing.T) {
	alike := SecurityLabels{"cri-containerd.apparmor.d (enforce)", "cri-containerd.apparmor.d (enforce)"}
	apart := SecurityLabels{"strict (enforce)", "cri-containerd.apparmor.d (enforce)"}
	unconfined := SecurityLabels{"unconfined", "system_u:system_r:container_t:s0"}

	for _, c := range []struct {
		name        string
		target, own procfs.Status
		labels      SecurityLabels
		want        string
		ptraceHelps bool
	}{
		{"another user", newStatus(1000), newStatus(0), alike, "the target runs as user 1000, group 1000; this container runs as user 0, group 0", true},
		{"more capabilities", newStatus(0, unix.CAP_NET_ADMIN), newStatus(0), alike, "has capabilities that this container lacks: NET_ADMIN", true},
		{"not dumpable", newStatus(0), newStatus(0), alike, "not dumpable", true},
		{"no security module", newStatus(0), newStatus(0), SecurityLabels{}, "not dumpable", true},
		{"another AppArmor profile", newStatus(0), newStatus(0), apart, `the target is confined as "strict (enforce)", this container as "cri-containerd.apparmor.d (enforce)"`, false},
		{"another user and another profile", newStatus(1000), newStatus(0), apart, "the target runs as user 1000", true},
		{"with SYS_PTRACE, another profile", newStatus(1000), newStatus(0, unix.CAP_SYS_PTRACE), unconfined, `the target is confined as "unconfined"`, false},
		{"with SYS_PTRACE, the same profile", newStatus(0), newStatus(0, unix.CAP_SYS_PTRACE), alike, "a security module of the node denies it", false},
	} {
		why, helps := ExplainClosed(c.target, c.own, c.labels)
		if !strings.Contains(why, c.want) || helps != c.ptraceHelps {
			t.Errorf("%s: ExplainClosed = %q, %v, want %q, %v", c.name, why, helps, c.want, c.ptraceHelps)
		}
	}
}
