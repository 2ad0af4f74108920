package kit

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// RunKubectl prepares and looks at the cluster; it must succeed.
func RunKubectl(t *testing.T, args ...string) string {
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

func ApplyManifest(t *testing.T, namespace, manifest string) {
	t.Helper()
	if _, err := TryKubectl(t.Context(), manifest, "apply", "-n", namespace, "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

// ApplyClusterWide applies what is in no namespace; it goes with the test.
func ApplyClusterWide(t *testing.T, text string) {
	t.Helper()
	ApplyManifest(t, "default", text)
	// The test's own context is done by then.
	ctx := context.WithoutCancel(t.Context())
	t.Cleanup(func() { _, _ = TryKubectl(ctx, text, "delete", "--ignore-not-found", "-f", "-") })
}

func ReadManifest(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(current.root, "testdata", "manifests", name))
	if err != nil {
		t.Fatal(err)
	}
	if wantsUserNamespaces(t) {
		return addUserNamespaces(string(text))
	}
	return string(text)
}
