package kube

import (
	"context"
	"errors"
	"slices"

	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
)

const (
	// ProfileRaw adds NET_RAW to a capture container that drops all other capabilities. Pod Security
	// level "privileged".
	ProfileRaw Profile = "net-raw"
	// ProfileRawDefault drops all capabilities that a runtime grants by default but NET_RAW. The
	// container has no more than with ProfileRaw. Pod Security level "baseline".
	ProfileRawDefault Profile = "default-net-raw"
)

// netRaw is the capability to open packet sockets (capabilities(7)).
const netRaw corev1.Capability = "NET_RAW"

// captureProfiles lists what a capture container asks for, in turn. Both give it the same, but not
// every runtime grants NET_RAW by default: CRI-O has not since 1.18.
var captureProfiles = []Profile{ProfileRaw, ProfileRawDefault}

// CaptureRequest asks for a capture container in a pod: one that may open packet sockets, and nothing
// else. Its manager has no target.
type CaptureRequest struct {
	Pod *corev1.Pod
	ManagerContainer
}

// EnsureCapture finds a capture container that can serve a request, or creates one, and waits until
// it runs.
func (c *Cluster) EnsureCapture(ctx context.Context, r CaptureRequest) (Injected, error) {
	if err := r.checkOwnNetwork(); err != nil {
		return Injected{}, err
	}
	return c.ensureContainer(ctx, r.containerRequest())
}

// checkOwnNetwork returns an error for a pod whose packets are those of the node.
func (r CaptureRequest) checkOwnNetwork() error {
	if !r.Pod.Spec.HostNetwork {
		return nil
	}
	return &Error{Doing: "capture packets of pod " + r.Pod.Namespace + "/" + r.Pod.Name,
		Err:  errors.New("the pod uses the node's network (hostNetwork), so the packets would be those of the whole node"),
		Next: "choose a pod without hostNetwork"}
}

// containerRequest turns the request into one of any kind.
func (r CaptureRequest) containerRequest() containerRequest {
	manager := r.Manager
	manager.Role, manager.Target, manager.Profile = wire.RoleCapture, "", ""

	return containerRequest{
		pod: r.Pod, image: r.Image, pullPolicy: r.PullPolicy,
		manager: manager, ledger: r.Ledger, progress: r.Progress, notice: r.Notice,
		profiles: captureProfiles,
		security: captureSecurityContext,
		hint:     captureHint,
	}
}

// captureSecurityContext returns what a capture container with profile p asks for: NET_RAW alone, and
// root, because a runtime makes added capabilities effective only for root.
func captureSecurityContext(p Profile) *corev1.SecurityContext {
	no := false
	sc := newSecurityContext()
	runAsRoot(sc)
	sc.AllowPrivilegeEscalation = &no

	sc.Capabilities = &corev1.Capabilities{Drop: noCapabilities, Add: []corev1.Capability{netRaw}}
	if p == ProfileRawDefault {
		others := slices.Clone(runtimeCapabilities)
		others = slices.DeleteFunc(others, func(c corev1.Capability) bool { return c == netRaw })
		sc.Capabilities = &corev1.Capabilities{Drop: others}
	}
	return sc
}

// captureHint names the capability that a capture container needs, and whom to ask for it.
func captureHint(_ context.Context, _ *Cluster, request containerRequest, why rejection) string {
	whom := why.hintWhomToAsk(request.pod.Namespace)
	if why.by == byAdmission {
		return "captures need the capability NET_RAW, which Pod Security allows at levels privileged and baseline: " + whom
	}
	return "captures need a container that runs as root with the capability NET_RAW: " + whom
}

// FindNetManagers lists the containers of a pod in which managers that redirect connections run,
// whoever owns them, by the pod's status.
func FindNetManagers(pod *corev1.Pod) []string {
	var names []string
	for i := range pod.Spec.EphemeralContainers {
		container := &pod.Spec.EphemeralContainers[i]
		running, _ := readProgress(pod, container.Name, "")
		if m, ok := parseManager(container); ok && m.Role == wire.RoleNet && running {
			names = append(names, container.Name)
		}
	}
	return names
}
