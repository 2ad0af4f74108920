package runctest

import (
	"fmt"
	"slices"
)

type object = map[string]any

// newConfig makes the container's config.json (OCI runtime specification).
func newConfig(s ContainerSpec) object {
	caps := withPrefix(s.Caps)
	ambient := withPrefix(s.Ambient)
	effective := caps
	if s.UID != 0 {
		// As execve leaves them for users other than root.
		effective = ambient
	}

	noFile := s.NoFile
	if noFile == 0 {
		noFile = 1024
	}

	cwd := s.Cwd
	if cwd == "" {
		cwd = "/"
	}

	return object{
		"ociVersion": "1.0.2",
		"process": object{
			"terminal": false,
			"user":     object{"uid": s.UID, "gid": s.GID, "additionalGids": s.Groups},
			"args":     s.Args,
			"env":      s.Env,
			"cwd":      cwd,
			"capabilities": object{
				"bounding": caps, "permitted": effective, "effective": effective,
				"inheritable": ambient, "ambient": ambient,
			},
			"rlimits":         []object{{"type": "RLIMIT_NOFILE", "soft": noFile, "hard": 4096}},
			"noNewPrivileges": s.NoNewPrivileges,
		},
		"root":   object{"path": "rootfs", "readonly": s.ReadOnly},
		"mounts": mounts,
		"linux":  object{"namespaces": newNamespaces(s), "seccomp": newSeccomp(s)},
	}
}

// withPrefix puts CAP_ before the names of capabilities.
func withPrefix(names []string) []string {
	out := []string{}
	for _, name := range names {
		out = append(out, "CAP_"+name)
	}
	return out
}

var mounts = []object{
	{"destination": "/proc", "type": "proc", "source": "proc"},
	{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "mode=755", "size=64k"}},
	{"destination": "/dev/pts", "type": "devpts", "source": "devpts",
		"options": []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
}

// newNamespaces lists the container's namespaces: of its own, or of the pod that it joins.
func newNamespaces(s ContainerSpec) []object {
	list := []object{{"type": "mount"}}
	pod := []string{"network", "ipc", "uts"}
	if !s.HostPIDs {
		pod = append(pod, "pid")
	}

	file := map[string]string{"network": "net"}
	for _, kind := range pod {
		namespace := object{"type": kind}
		if s.PIDsOf != nil {
			name := kind
			if short, ok := file[kind]; ok {
				name = short
			}
			namespace["path"] = fmt.Sprintf("/proc/%d/ns/%s", s.PIDsOf.PID, name)
		}
		list = append(list, namespace)
	}

	if s.PrivateCgroups {
		list = append(list, object{"type": "cgroup"})
	}

	return list
}

// newSeccomp forbids the system calls that matter here, of those that runtimes' default filters
// forbid without the capabilities for them.
func newSeccomp(s ContainerSpec) object {
	var forbidden []string
	if !slices.Contains(s.Caps, "SYS_ADMIN") {
		forbidden = append(forbidden, "unshare", "setns", "mount", "umount2", "pivot_root", "open_tree", "move_mount")
	}
	if !slices.Contains(s.Caps, "SYS_CHROOT") {
		forbidden = append(forbidden, "chroot")
	}
	if !slices.Contains(s.Caps, "SYS_PTRACE") {
		forbidden = append(forbidden, "kcmp", "pidfd_getfd")
	}

	forbidden = append(append(forbidden, "userfaultfd", "keyctl"), s.Forbidden...)

	return object{
		"defaultAction": "SCMP_ACT_ALLOW",
		"syscalls":      []object{{"names": forbidden, "action": "SCMP_ACT_ERRNO", "errnoRet": 1}},
	}
}
