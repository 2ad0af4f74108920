package procfs

import "testing"

func TestCapSetNames(t *testing.T) {
	for set, want := range map[CapSet]string{
		0:             "",
		1<<0 | 1<<12:  "CHOWN, NET_ADMIN",
		1<<21 | 1<<40: "SYS_ADMIN, CHECKPOINT_RESTORE",
		1<<19 | 1<<63: "SYS_PTRACE, capability 63",
		1<<18 | 1<<41: "SYS_CHROOT, capability 41",
	} {
		if got := set.Names(); got != want {
			t.Errorf("Names of %x = %q, want %q", uint64(set), got, want)
		}
	}
}
