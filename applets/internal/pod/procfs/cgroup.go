package procfs

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Cgroups are the cgroups of one process, one for each hierarchy, in the
// kernel's order.
type Cgroups []Cgroup

// Cgroup is a process's place in one hierarchy (cgroups(7)).
type Cgroup struct {
	// Hierarchy is "0" for cgroup v2.
	Hierarchy string
	// Controllers are those of a v1 hierarchy.
	Controllers string
	// Path is relative to the reader's cgroup namespace: a process outside it
	// has one that begins with "/..".
	Path string
}

// Name reports whether one of these cgroups is the container's of that ID, or lies in it, by how
// runtimes name them: a whole component of the path is
//
//	ID                        cgroupfs driver, all runtimes
//	PREFIX-ID.scope           systemd driver: cri-containerd, crio, docker, libpod
//	PREFIX-ID                 cgroupfs driver of CRI-O and Podman
//	SLICE:PREFIX:ID           a systemd path given to the cgroupfs driver
//
// CRI-O and Podman put the monitor of a container, which is a process of the node's, beside it:
// crio-conmon-ID.scope, libpod-conmon-ID.scope. It is not the container's.
func (c Cgroups) Name(id string) bool {
	return slices.ContainsFunc(c, func(g Cgroup) bool {
		components := strings.Split(g.Path, "/")
		return slices.ContainsFunc(components, func(component string) bool { return isContainerCgroup(component, id) })
	})
}

func isContainerCgroup(component, id string) bool {
	if component == id {
		return true
	}
	if _, last, ok := cutLast(component, ":"); ok && last == id {
		return true
	}

	prefix, ok := strings.CutSuffix(strings.TrimSuffix(component, ".scope"), "-"+id)
	return ok && prefix != "conmon" && !strings.HasSuffix(prefix, "-conmon")
}

// cutLast is strings.Cut around the last separator.
func cutLast(s, separator string) (before, after string, found bool) {
	if at := strings.LastIndex(s, separator); at >= 0 {
		return s[:at], s[at+len(separator):], true
	}
	return s, "", false
}

// Same reports whether two processes are in the same cgroups.
func (c Cgroups) Same(other Cgroups) bool { return slices.Equal(c, other) }

// Root reports whether the process is at the root of every hierarchy that the
// reader sees, or in none: then the cgroups tell nothing.
func (c Cgroups) Root() bool {
	return !slices.ContainsFunc(c, func(g Cgroup) bool { return g.Path != "/" })
}

// ParseCgroups parses the content of /proc/PID/cgroup.
func ParseCgroups(content []byte) (Cgroups, error) {
	var out Cgroups
	for line := range bytes.Lines(content) {
		text := strings.TrimSuffix(string(line), "\n")
		hierarchy, rest, ok := strings.Cut(text, ":")
		controllers, path, ok2 := strings.Cut(rest, ":")
		if !ok || !ok2 || !strings.HasPrefix(path, "/") {
			return nil, fmt.Errorf("line %q is not hierarchy:controllers:/path", text)
		}
		out = append(out, Cgroup{Hierarchy: hierarchy, Controllers: controllers, Path: path})
	}

	return out, nil
}
