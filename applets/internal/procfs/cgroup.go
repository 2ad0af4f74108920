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

// Name reports whether a path of these cgroups holds id, as one of a
// container's cgroup holds the container's ID.
func (c Cgroups) Name(id string) bool {
	return slices.ContainsFunc(c, func(g Cgroup) bool { return strings.Contains(g.Path, id) })
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
