package redirectclient

import (
	"regexp"
	"strings"
)

// forwardPrefix is what a node begins to say with why it could not forward to a port: ids that tell a
// user nothing (kubelet, pkg/kubelet/cri/streaming/portforward; containerd and CRI-O have a copy).
var forwardPrefix = regexp.MustCompile(`^error forwarding port \d+ to pod [^,]*, uid [^:]*: `)

// describeForward says in one plain clause why a node could not forward to a port, or stopped to. Nodes
// say it in words alone, each container runtime in its own, and with paths in it.
func describeForward(err error) string {
	text := forwardPrefix.ReplaceAllString(oneClause(err), "")
	is := func(words string) bool { return strings.Contains(text, words) }
	switch {
	case is("connection refused"):
		return "nothing listens on kdiag's port in the pod"
	case is("connection reset by peer"), is("broken pipe"):
		return "kdiag's container in the pod broke it off"
	case is("netns"), is("network namespace"):
		return "the pod's network is gone"
	case is("sandbox"):
		return "the pod's sandbox is gone"
	}
	return text
}
