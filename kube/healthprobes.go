package kube

import (
	"context"
	"encoding/json"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// A HealthProbe is what the kubelet sends to a TCP port of a pod for one of its containers.
type HealthProbe struct {
	Container string
	// Of is "startup", "readiness" or "liveness", or "postStart" or "preStop" for a hook.
	Of   string
	Port uint16
	// Sent lists how it may look. A hook over TLS is repeated without it.
	Sent []wire.Probe
}

// IsHook reports whether it is the request of a hook.
func (h HealthProbe) IsHook() bool { return strings.HasPrefix(h.Of, "p") }

// What the kubelet calls itself (pkg/probe/http and pkg/kubelet/lifecycle of Kubernetes).
const (
	probeAgent = "kube-probe/"
	hookAgent  = "kube-lifecycle/"
)

// HealthProbes lists the health probes and hooks of a pod's containers that come to a port of the
// pod, those first that the spec has first. Where Istio has put its agent in their place, it lists
// what the agent asks the containers.
func HealthProbes(pod *corev1.Pod) []HealthProbe {
	var found []HealthProbe
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		found = append(found, containerProbes(pod, &c)...)
		found = append(found, istioProbes(pod, &c)...)
	}
	return found
}

// containerProbes lists those of one container.
func containerProbes(pod *corev1.Pod, c *corev1.Container) []HealthProbe {
	var found []HealthProbe
	for _, p := range []struct {
		of    string
		probe *corev1.Probe
	}{{"startup", c.StartupProbe}, {"readiness", c.ReadinessProbe}, {"liveness", c.LivenessProbe}} {
		if p.probe != nil {
			found = addProbe(found, pod, c, p.of, p.probe)
		}
	}

	if c.Lifecycle == nil {
		return found
	}
	for _, h := range []struct {
		of   string
		hook *corev1.LifecycleHandler
	}{{"postStart", c.Lifecycle.PostStart}, {"preStop", c.Lifecycle.PreStop}} {
		if h.hook != nil {
			asProbe := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: h.hook.HTTPGet}}
			found = addProbe(found, pod, c, h.of, asProbe)
		}
	}
	return found
}

// addProbe adds a probe, unless it comes to no port of the pod's.
func addProbe(found []HealthProbe, pod *corev1.Pod, c *corev1.Container, of string, p *corev1.Probe) []HealthProbe {
	probe := HealthProbe{Container: c.Name, Of: of}
	port, ok := intstr.IntOrString{}, false
	switch {
	case p.HTTPGet != nil && isPodHost(pod, p.HTTPGet.Host):
		port, ok = p.HTTPGet.Port, true
		probe.Sent = httpProbes(p.HTTPGet, probe.IsHook())
	case p.TCPSocket != nil && isPodHost(pod, p.TCPSocket.Host):
		port, ok = p.TCPSocket.Port, true
		probe.Sent = []wire.Probe{{Kind: wire.ProbeTCP}}
	case p.GRPC != nil:
		port, ok = intstr.FromInt32(p.GRPC.Port), true
		probe.Sent = []wire.Probe{{Kind: wire.ProbeGRPC}}
		if p.GRPC.Mode != nil && *p.GRPC.Mode == corev1.GRPCProbeModeTLS {
			probe.Sent[0].Kind = wire.ProbeTLS
		}
	}

	number, known := containerPort(c, port)
	if !ok || !known {
		return found
	}
	for i := range probe.Sent {
		probe.Sent[i].TimeoutSeconds = int(max(p.TimeoutSeconds, 1))
	}
	probe.Port = number
	return append(found, probe)
}

// isPodHost reports whether a probe's host is the pod.
func isPodHost(pod *corev1.Pod, host string) bool {
	return host == "" || host == pod.Status.PodIP || slices.ContainsFunc(pod.Status.PodIPs, func(ip corev1.PodIP) bool { return ip.IP == host })
}

// containerPort returns the number of a port that a probe names or numbers.
func containerPort(c *corev1.Container, port intstr.IntOrString) (uint16, bool) {
	if port.Type == intstr.String {
		for _, declared := range c.Ports {
			if declared.Name == port.StrVal {
				return uint16(declared.ContainerPort), true
			}
		}
		number, err := strconv.ParseUint(port.StrVal, 10, 16)
		return uint16(number), err == nil && number != 0
	}
	return uint16(port.IntVal), port.IntVal > 0 && port.IntVal < 1<<16
}

// httpProbes lists what the kubelet sends for an httpGet.
func httpProbes(get *corev1.HTTPGetAction, hook bool) []wire.Probe {
	plain := wire.Probe{Kind: wire.ProbeHTTP, Target: requestTarget(get.Path), Agent: probeAgent}
	if hook {
		plain.Agent = hookAgent
	}
	for _, header := range get.HTTPHeaders {
		if plain.Headers == nil {
			plain.Headers = map[string][]string{}
		}
		plain.Headers[header.Name] = append(plain.Headers[header.Name], header.Value)
	}
	if get.Protocol != nil && *get.Protocol == corev1.HTTPProtocolHTTP2 {
		plain.Kind = wire.ProbeH2C
	}

	switch {
	case get.Scheme == corev1.URISchemeHTTPS && hook:
		return []wire.Probe{{Kind: wire.ProbeTLS}, plain}
	case get.Scheme == corev1.URISchemeHTTPS:
		return []wire.Probe{{Kind: wire.ProbeTLS}}
	}
	return []wire.Probe{plain}
}

// requestTarget returns what the first line of a request for a path has, as the kubelet makes it.
func requestTarget(path string) string {
	u, err := url.Parse(path)
	if err != nil {
		u = &url.URL{Path: path}
	}
	u.Scheme, u.Host = "http", "pod"

	// It goes through the text of a URL once more.
	if again, err := url.Parse(u.String()); err == nil {
		u = again
	}
	return u.RequestURI()
}

// istioProbersVariable has the probes that Istio's injector has replaced by requests to its agent
// (pilot/cmd/pilot-agent/status of Istio).
const istioProbersVariable = "ISTIO_KUBE_APP_PROBERS"

// istioProbes lists the probes that a container of Istio's agent passes on.
func istioProbes(pod *corev1.Pod, agent *corev1.Container) []HealthProbe {
	var found []HealthProbe
	for _, variable := range agent.Env {
		if variable.Name != istioProbersVariable {
			continue
		}

		var replaced map[string]*corev1.Probe
		if json.Unmarshal([]byte(variable.Value), &replaced) != nil {
			continue
		}
		for path, probe := range replaced {
			// The path is /app-health/CONTAINER/KIND, or begins with /app-lifecycle.
			words := strings.Split(path, "/")
			if probe == nil || len(words) != 4 || istioKinds[words[3]] == "" {
				continue
			}
			found = addProbe(found, pod, findContainer(pod, words[2]), istioKinds[words[3]], probe)
		}
	}

	slices.SortFunc(found, func(a, b HealthProbe) int {
		return strings.Compare(a.Container+" "+a.Of, b.Container+" "+b.Of)
	})
	return found
}

// istioKinds are the last parts of the agent's paths.
var istioKinds = map[string]string{
	"startupz": "startup", "readyz": "readiness", "livez": "liveness", "prestopz": "preStop", "poststartz": "postStart",
}

// findContainer returns a container of a pod by its name, or one that has nothing but the name.
func findContainer(pod *corev1.Pod, name string) *corev1.Container {
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if c.Name == name {
			return &c
		}
	}
	return &corev1.Container{Name: name}
}

// NodeAddresses returns the addresses that a pod's node may have towards it: those that the pod
// knows, those of the node, and the first two of its pods' networks, which bridges and tunnels
// have. Without the right to read the node it returns the first only.
func (c *Cluster) NodeAddresses(ctx context.Context, pod *corev1.Pod) []netip.Addr {
	texts := []string{pod.Status.HostIP}
	for _, host := range pod.Status.HostIPs {
		texts = append(texts, host.IP)
	}

	var networks []string
	if node, err := c.ReadNode(ctx, pod.Spec.NodeName); err == nil {
		for _, address := range node.Status.Addresses {
			texts = append(texts, address.Address)
		}
		networks = append(node.Spec.PodCIDRs, node.Spec.PodCIDR)
	}

	var found []netip.Addr
	for _, text := range texts {
		if address, err := netip.ParseAddr(text); err == nil {
			found = append(found, address)
		}
	}
	for _, network := range networks {
		if prefix, err := netip.ParsePrefix(network); err == nil {
			first := prefix.Masked().Addr()
			found = append(found, first, first.Next())
		}
	}

	slices.SortFunc(found, netip.Addr.Compare)
	return slices.Compact(found)
}
