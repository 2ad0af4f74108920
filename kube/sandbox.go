package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
)

// sandbox names what stands between a pod and its node's kernel; empty for nothing.
type sandbox string

const (
	gvisorSandbox sandbox = "gVisor"
	kataSandbox   sandbox = "Kata Containers"
)

// rightGetRuntimeClass is granted to few, and only a ClusterRole can do it.
var rightGetRuntimeClass = accessRight{verb: "get", group: "node.k8s.io", resource: "runtimeclasses"}

// sandboxNamed tells a sandbox by the name of a runtime's handler, or of a runtime class. The
// handlers are those that the projects and the cloud providers set up: "runsc", and GKE's
// "gvisor"; "kata", "kata-qemu", "kata-clh" and so on.
func sandboxNamed(name string) sandbox {
	first, _, _ := strings.Cut(strings.ToLower(name), "-")
	switch first {
	case "runsc", "gvisor":
		return gvisorSandbox
	case "kata":
		return kataSandbox
	}
	return ""
}

// findSandbox tells by its runtime class what a pod is isolated by: by the class's handler, or
// by the class's name if the handler cannot be read.
func (c *Cluster) findSandbox(ctx context.Context, pod *corev1.Pod) sandbox {
	class := runtimeClassOf(pod)
	if class == "" {
		return ""
	}

	handler, err := c.readHandler(ctx, class)
	if err != nil {
		return sandboxNamed(class)
	}
	return sandboxNamed(handler)
}

// runtimeClassOf returns the name of a pod's runtime class; empty for none.
func runtimeClassOf(pod *corev1.Pod) string {
	if pod.Spec.RuntimeClassName == nil {
		return ""
	}
	return *pod.Spec.RuntimeClassName
}

// readHandler reads which runtime a runtime class stands for. It asks for JSON: the group's
// types would be in every process of kdiag for the sake of one field.
func (c *Cluster) readHandler(ctx context.Context, class string) (string, error) {
	request := c.core.Get().AbsPath("/apis/node.k8s.io/v1/runtimeclasses", class)
	body, err := request.SetHeader("Accept", "application/json").DoRaw(ctx)
	if err != nil {
		return "", err
	}

	var object struct {
		Handler string `json:"handler"`
	}
	if err := json.Unmarshal(body, &object); err != nil {
		return "", fmt.Errorf("runtime class %s: %w", class, err)
	}
	return object.Handler, nil
}

// checkKernel returns an error for a pod in whose sandbox there is nothing to redirect with,
// and gives notice of one where that depends on the sandbox.
func (request containerRequest) checkKernel(ctx context.Context, c *Cluster) error {
	class := wire.OneLine(runtimeClassOf(request.pod))

	switch found := c.findSandbox(ctx, request.pod); {
	case found == gvisorSandbox:
		return &Error{Doing: request.operation(),
			Err:  fmt.Errorf("the pod runs in a gVisor sandbox (runtime class %s), which has no nftables to redirect connections with", class),
			Next: "choose a pod without that runtime class, or try a copy of this one without it"}
	case found == kataSandbox && request.notice != nil:
		request.notice(fmt.Sprintf("the pod runs in a virtual machine (Kata Containers, runtime class %s): redirects need nf_tables in the kernel inside", class))
	}

	return nil
}
