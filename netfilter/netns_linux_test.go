package netfilter

import (
	"testing"

	"kdiag/netfilter/netnstest"
)

type namespace = netnstest.Namespace

// The addresses of the pod, of what is outside it, and of another host there.
const (
	pod4, pod6         = "10.1.0.2", "fd00:1::2"
	outside4, outside6 = "10.1.0.1", "fd00:1::1"
	other4, other6     = "10.1.0.3", "fd00:1::3"
)

// newPod makes two namespaces joined by a veth pair, and enters the pod's.
func newPod(t *testing.T) (pod, outside namespace) {
	t.Helper()
	pod, outside = netnstest.New(t), netnstest.New(t)
	pod.Run(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", string(outside))
	address(t, pod, pod4, pod6)
	address(t, outside, outside4, outside6)
	address(t, outside, other4, other6)
	pod.Enter(t)
	return pod, outside
}

func address(t *testing.T, ns namespace, v4, v6 string) {
	t.Helper()
	ns.Run(t, "ip", "address", "add", v4+"/24", "dev", "eth0")
	ns.Run(t, "ip", "address", "add", v6+"/64", "dev", "eth0", "nodad")
	ns.Run(t, "ip", "link", "set", "eth0", "up")
}
