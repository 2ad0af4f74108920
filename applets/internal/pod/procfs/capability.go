package procfs

import (
	"fmt"
	"strings"
)

// capabilityNames lists the names by number (linux/capability.h).
var capabilityNames = strings.Fields(`CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP
	LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT
	SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE
	AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF
	CHECKPOINT_RESTORE`)

// Names lists the capabilities of a set as a container's spec writes them, without CAP_.
func (c CapSet) Names() string {
	var names []string
	for n := range 64 {
		switch {
		case !c.Has(n):
		case n < len(capabilityNames):
			names = append(names, capabilityNames[n])
		default:
			names = append(names, fmt.Sprintf("capability %d", n))
		}
	}

	return strings.Join(names, ", ")
}
