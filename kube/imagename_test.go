package kube

import (
	"strings"
	"testing"
)

// TestCheckImageName wants names that runtimes take, and no others.
func TestCheckImageName(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0a", 32)
	for _, good := range []string{
		"kdiag", "kdiag:1", "localhost/kdiag:dev", "localhost:5000/kdiag", "127.0.0.1:1/a/b:x", "ghcr.io/me/kdiag:v1.2-rc_3", "me/kdiag",
		"kdiag@" + digest, "ghcr.io/me/kdiag:1@" + digest, "[::1]:5000/kdiag", "GHCR.io/me/kdiag", "a__b/c-d/e.f", "REGISTRY/kdiag",
		"a/" + strings.Repeat("b", 253), "kdiag:" + strings.Repeat("t", 128),
	} {
		if err := CheckImageName(good); err != nil {
			t.Errorf("CheckImageName(%q) = %v, want nil", good, err)
		}
	}

	for _, bad := range []string{
		"", " ", "localhost/kdiag:dev ", " kdiag", "kdiag\n", "Bad Image!", "Kdiag", "me/Kdiag", "NOT/A/NAME", "kdiag:", "kdiag:a b", "kdiag:-x",
		"kdiag@", "kdiag@sha256:12", "kdiag@" + digest + "0", "kdiag@md5:" + strings.Repeat("0", 32), "https://ghcr.io/me/kdiag", "/kdiag", "kdiag/",
		"a//b", "-kdiag", "kdiag..x", "ghcr.io:port/kdiag", "-bad.example/kdiag", strings.Repeat("b", 256), strings.Repeat("0a", 32),
		"kdiag:" + strings.Repeat("t", 129), "kdiag:dev\t", "kdiäg",
	} {
		if err := CheckImageName(bad); err == nil {
			t.Errorf("CheckImageName(%q) = nil, want an error", bad)
		}
	}
}
