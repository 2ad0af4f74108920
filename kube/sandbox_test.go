package kube

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestSandboxNamed(t *testing.T) {
	for name, want := range map[string]sandbox{
		"runsc": gvisorSandbox, "gvisor": gvisorSandbox, "gVisor": gvisorSandbox, "runsc-kvm": gvisorSandbox,
		"kata": kataSandbox, "kata-qemu": kataSandbox, "kata-clh": kataSandbox, "kata-fc": kataSandbox,
		"kata-mshv-vm-isolation": kataSandbox, "kata-remote": kataSandbox,
		"": "", "runc": "", "crun": "", "nvidia": "", "katacoda": "", "no-kata": "", "runscan": "", "wasmtime": "",
	} {
		if got := sandboxNamed(name); got != want {
			t.Errorf("sandboxNamed(%q) = %q, want %q", name, got, want)
		}
	}
}

// newSandboxedPod returns a pod of a runtime class.
func newSandboxedPod(class string) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web"}}
	if class != "" {
		pod.Spec.RuntimeClassName = &class
	}
	return pod
}

// TestFindSandbox believes the handler of a runtime class, and the class's name only if the
// handler cannot be read.
func TestFindSandbox(t *testing.T) {
	handlers := map[string]string{"strict": "runsc", "gvisor": "runc", "vm": "kata-clh"}
	routes := http.NewServeMux()
	routes.HandleFunc("GET /apis/node.k8s.io/v1/runtimeclasses/{name}", func(w http.ResponseWriter, r *http.Request) {
		handler, ok := handlers[r.PathValue("name")]
		if !ok {
			http.Error(w, "forbidden", http.StatusForbidden)
			return
		}
		answerJSON(w, fmt.Sprintf(`{"kind": "RuntimeClass", "apiVersion": "node.k8s.io/v1", "handler": %q}`, handler))
	})
	cluster := connectTo(t, routes)

	for class, want := range map[string]sandbox{
		"": "", "strict": gvisorSandbox, "gvisor": "", "vm": kataSandbox, "kata": kataSandbox, "runsc": gvisorSandbox, "other": "",
	} {
		if got := cluster.findSandbox(t.Context(), newSandboxedPod(class)); got != want {
			t.Errorf("findSandbox of a pod of class %q = %q, want %q", class, got, want)
		}
	}
}

// TestRedirectsInSandboxes refuses redirects in a sandbox without nftables before it asks
// for a container, and gives notice of a sandbox that may lack them.
func TestRedirectsInSandboxes(t *testing.T) {
	cluster := connectTo(t, http.NotFoundHandler())
	var noticed []string
	request := func(class string) NetRequest {
		notice := func(text string) { noticed = append(noticed, text) }
		return NetRequest{Pod: newSandboxedPod(class), ManagerContainer: ManagerContainer{Image: "kdiag", Notice: notice}}
	}

	_, err := cluster.EnsureNet(t.Context(), request("gvisor"))
	var refused *Error
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "gVisor sandbox (runtime class gvisor), which has no nftables") || refused.Hint() == "" {
		t.Errorf("EnsureNet in gVisor = %v, want it refused with a hint", err)
	}
	if len(noticed) != 0 {
		t.Errorf("noticed %q, want nothing beside the error", noticed)
	}

	// This API server adds no containers.
	_, err = cluster.EnsureNet(t.Context(), request("kata-qemu"))
	if err == nil || strings.Contains(err.Error(), "runtime class") {
		t.Errorf("EnsureNet in Kata = %v, want that the container is asked for", err)
	}
	if len(noticed) != 1 || !strings.Contains(noticed[0], "Kata Containers, runtime class kata-qemu") {
		t.Errorf("noticed %q, want one note on Kata", noticed)
	}
}
