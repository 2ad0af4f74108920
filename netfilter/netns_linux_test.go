package netfilter

import (
	"testing"

	"kdiag/netfilter/netnstest"
)

type namespace = netnstest.Namespace

// Addresses of the pod, of the network outside it, and of another host there.
const (
	pod4, pod6         = "10.1.0.2", "fd00:1::2"
	outside4, outside6 = "10.1.0.1", "fd00:1::1"
	other4, other6     = "10.1.0.3", "fd00:1::3"
)

// newPod creates two namespaces joined by a veth pair, and enters the pod's.
func newPod(t testing.TB) (pod, outside namespace) {
	t.Helper()
	pod, outside = netnstest.New(t), netnstest.New(t)
	pod.Run(t, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", string(outside))
	addAddresses(t, pod, pod4, pod6)
	addAddresses(t, outside, outside4, outside6)
	addAddresses(t, outside, other4, other6)
	pod.Enter(t)
	return pod, outside
}

func addAddresses(t testing.TB, ns namespace, v4, v6 string) {
	t.Helper()
	ns.Run(t, "ip", "address", "add", v4+"/24", "dev", "eth0")
	ns.Run(t, "ip", "address", "add", v6+"/64", "dev", "eth0", "nodad")
	ns.Run(t, "ip", "link", "set", "eth0", "up")
}
