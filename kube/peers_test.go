package kube

import (
	"maps"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestListPeers(t *testing.T) {
	pod := func(name, ip string, phase corev1.PodPhase, hostNetwork bool) corev1.Pod {
		return corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name},
			Spec:       corev1.PodSpec{NodeName: "node1", HostNetwork: hostNetwork},
			Status:     corev1.PodStatus{Phase: phase, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}, {IP: "fd00::" + ip[len(ip)-1:]}}, HostIP: "192.0.2.1"},
		}
	}

	service := corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web"}}
	service.Spec.ClusterIP, service.Spec.ClusterIPs, service.Spec.ExternalIPs = "10.96.0.1", []string{"10.96.0.1", "fd01::1"}, []string{"198.51.100.1"}
	service.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.1"}, {Hostname: "lb.example"}}
	headless := corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "headless"}}
	headless.Spec.ClusterIP = "None"

	got := Peers{}
	got.addPods([]corev1.Pod{
		pod("old", "10.244.0.5", corev1.PodSucceeded, false), pod("new", "10.244.0.5", corev1.PodRunning, false),
		pod("host", "192.0.2.1", corev1.PodRunning, true),
	})
	got.addServices([]corev1.Service{service, headless})
	want := Peers{}
	for address, peer := range map[string]Peer{
		"10.244.0.5": {"pod", "ns", "new"}, "fd00::5": {"pod", "ns", "new"}, "192.0.2.1": {"node", "", "node1"},
		"10.96.0.1": {"service", "ns", "web"}, "fd01::1": {"service", "ns", "web"},
		"198.51.100.1": {"service", "ns", "web"}, "203.0.113.1": {"service", "ns", "web"},
	} {
		want[netip.MustParseAddr(address)] = peer
	}

	if !maps.Equal(got, want) {
		t.Errorf("peers = %v, want %v", got, want)
	}
	if text := want[netip.MustParseAddr("192.0.2.1")].String(); text != "node node1" {
		t.Errorf("String of a node = %q", text)
	}
	if text := want[netip.MustParseAddr("fd01::1")].String(); text != "service ns/web" {
		t.Errorf("String of a service = %q", text)
	}
}

// TestMappedAddressIsTaken adds an address that another object has, in the form of IPv6.
func TestMappedAddressIsTaken(t *testing.T) {
	first, second := Peer{"pod", "ns", "first"}, Peer{"service", "ns", "second"}
	got := Peers{}
	got.addAddress("10.0.0.1", first)
	got.addAddress("::ffff:10.0.0.1", second)
	got.addAddress("::ffff:10.0.0.2", second)

	want := Peers{netip.MustParseAddr("10.0.0.1"): first, netip.MustParseAddr("10.0.0.2"): second}
	if !maps.Equal(got, want) {
		t.Errorf("peers = %v, want %v", got, want)
	}
}
