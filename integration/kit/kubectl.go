package kit

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// RunKubectl runs kubectl as the cluster's admin and returns what it prints. It
// must succeed.
func RunKubectl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := TryKubectl(t.Context(), "", args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// TryKubectl runs kubectl as the cluster's admin and returns what it prints.
func TryKubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "kubectl", args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+current.kubeconfig)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// ApplyManifest applies a manifest to a namespace.
func ApplyManifest(t *testing.T, namespace, manifest string) {
	t.Helper()
	if _, err := TryKubectl(t.Context(), manifest, "apply", "-n", namespace, "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

// ApplyClusterWide applies a manifest of things that are in no namespace. They
// are deleted at the end of the test.
func ApplyClusterWide(t *testing.T, manifest string) {
	t.Helper()
	ApplyManifest(t, "default", manifest)

	// The test's own context is done by the time of the clean-up.
	ctx := context.WithoutCancel(t.Context())
	t.Cleanup(func() { _, _ = TryKubectl(ctx, manifest, "delete", "--ignore-not-found", "-f", "-") })
}

// ReadManifest reads a file of testdata/manifests.
func ReadManifest(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(RootPath("testdata/manifests/" + name))
	if err != nil {
		t.Fatal(err)
	}
	if wantsUserNamespaces(t) {
		return addUserNamespaces(string(text))
	}
	return string(text)
}

// ReadServerURL returns the address of the API server.
func ReadServerURL(t *testing.T) *url.URL {
	t.Helper()
	address, err := url.Parse(RunKubectl(t, "config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"))
	if err != nil {
		t.Fatal(err)
	}
	return address
}
