package procfs

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Cgroups lists the cgroups of one process, one for each hierarchy, in the kernel's order.
type Cgroups []Cgroup

// A Cgroup tells where a process stands in one hierarchy (cgroups(7)).
type Cgroup struct {
	// Hierarchy is "0" for cgroup v2.
	Hierarchy string
	// Controllers are those of a v1 hierarchy.
	Controllers string
	// Path is relative to the reader's cgroup namespace: a process outside it
	// has one that begins with "/..".
	Path string
}

// BelongToContainer reports whether one of these cgroups belongs to the container with an ID, or
// lies in one that does. It goes by how runtimes name them: a whole component of the path is
//
//	ID                        cgroupfs driver, all runtimes
//	PREFIX-ID.scope           systemd driver: cri-containerd, crio, docker, libpod
//	PREFIX-ID                 cgroupfs driver of CRI-O and Podman
//	SLICE:PREFIX:ID           a systemd path given to the cgroupfs driver
//
// CRI-O and Podman put the monitor of a container, which is a process of the node's, beside it:
// crio-conmon-ID.scope, libpod-conmon-ID.scope. It is not the container's.
func (c Cgroups) BelongToContainer(id string) bool {
	return slices.ContainsFunc(c, func(g Cgroup) bool {
		components := strings.Split(g.Path, "/")
		return slices.ContainsFunc(components, func(component string) bool { return isContainerCgroup(component, id) })
	})
}

// isContainerCgroup reports whether a component of a path names the container's cgroup.
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

// cutLast cuts as strings.Cut does, but around the last separator.
func cutLast(s, separator string) (before, after string, found bool) {
	if at := strings.LastIndex(s, separator); at >= 0 {
		return s[:at], s[at+len(separator):], true
	}
	return s, "", false
}

// Same reports whether two processes are in the same cgroups.
func (c Cgroups) Same(other Cgroups) bool { return slices.Equal(c, other) }

// AllAtRoot reports whether the process is at the root of every hierarchy that the reader sees, or
// in none. Then the cgroups do not tell it from others.
func (c Cgroups) AllAtRoot() bool {
	return !slices.ContainsFunc(c, func(g Cgroup) bool { return g.Path != "/" })
}

// anyV1AtRoot reports whether the process is at the root of a hierarchy of version 1.
func (c Cgroups) anyV1AtRoot() bool {
	return slices.ContainsFunc(c, func(g Cgroup) bool { return g.Hierarchy != "0" && g.Path == "/" })
}

// InPodOf reports whether a process stands in the same pod as a container with other cgroups, own:
// a runtime puts the cgroups of a pod's containers side by side. Hierarchies in which both are in
// one place tell nothing.
func (c Cgroups) InPodOf(own Cgroups) bool {
	if len(c) != len(own) {
		return false
	}

	told := false
	for i, g := range c {
		switch {
		case g.Path == own[i].Path:
		case !isSibling(g.Path, own[i].Path):
			return false
		default:
			told = true
		}
	}

	return told
}

// isSibling reports whether a cgroup is beside another one, or lies in one that is.
func isSibling(cgroup, own string) bool {
	if own == "/" {
		// A cgroup namespace: what is beside its root begins with "/..".
		name, ok := strings.CutPrefix(cgroup, "/../")
		return ok && name != ".." && !strings.HasPrefix(name, "../")
	}

	parent := path.Dir(own)
	if parent == "/" {
		return cgroup != "/" && path.Dir(cgroup) == parent
	}

	return strings.HasPrefix(cgroup, parent+"/") && !strings.HasPrefix(cgroup, own+"/")
}

// ParseCgroups parses the content of /proc/PID/cgroup.
func ParseCgroups(content []byte) (Cgroups, error) {
	var out Cgroups
	for line := range bytes.Lines(content) {
		text := strings.TrimSuffix(string(line), "\n")

		// A path may hold colons, a list of controllers none.
		hierarchy, rest, ok := strings.Cut(text, ":")
		controllers, path, ok2 := strings.Cut(rest, ":")
		if !ok || !ok2 || !strings.HasPrefix(path, "/") {
			return nil, fmt.Errorf("line %q is not hierarchy:controllers:/path", text)
		}
		out = append(out, Cgroup{Hierarchy: hierarchy, Controllers: controllers, Path: path})
	}

	return out, nil
}
