package kubeflags

import (
	"strings"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
)

// nodeTypes are kubectl's spellings of the type of a node.
var nodeTypes = []string{"node", "nodes", "no"}

// NodeTarget returns the name of the node that is the line's target, "" if it is none.
func NodeTarget(inv *applets.Invocation) (name string, ok bool) {
	if len(inv.Args) != 1 {
		return "", false
	}
	for _, spelled := range nodeTypes {
		if name, ok := strings.CutPrefix(inv.Args[0], spelled+"/"); ok {
			return name, true
		}
	}
	return "", false
}

// ParseNode reads what a container on a node is to be, as ParseShell does for one in a pod. The request
// has no pod.
func ParseNode(inv *applets.Invocation, name string) (containers.Request, error) {
	switch {
	case name == "" || strings.Contains(name, "/"):
		return containers.Request{}, applets.Usage("invalid target %q: use node/NAME", inv.Args[0])
	case inv.Flags.String("selector") != "" || inv.Flags.String("container") != "" || inv.Flags.String("pod") != "":
		return containers.Request{}, applets.Usage("a node takes neither -l nor -c")
	}
	return parseRequest(inv, []string{name})
}
