package scratchshell

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kdiag/integration/testenv"
)

// TestBuildRefuses builds from sources other than the pinned ones. The build must
// print one line that names the pin, and leave nothing to embed.
func TestBuildRefuses(t *testing.T) {
	const orig = "pool/main/b/busybox/busybox_1.35.0.orig.tar.bz2"
	tests := []struct {
		name   string
		mirror map[string]string
		want   []string
	}{
		{"other content", map[string]string{orig: "something else\n"}, []string{"SHA-256", "BUSYBOX_ORIG_SHA256"}},
		{"gone", nil, []string{"is on no mirror", "update BUSYBOX_ORIG"}},
	}

	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			mirror, dir := t.TempDir(), t.TempDir()
			for name, content := range test.mirror {
				path := filepath.Join(mirror, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}

			for _, name := range []string{"build.sh", "config", "busybox"} {
				path, err := filepath.Abs(name)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}

			cmd := exec.Command("sh", filepath.Join(dir, "build.sh"))
			cmd.Env = append(os.Environ(), "DEBIAN_MIRROR=file:"+mirror)
			out, err := cmd.CombinedOutput()
			got := strings.TrimSuffix(string(out), "\n")
			if strings.Contains(got, "missing tools") {
				testenv.Missing(t, "%s", got)
			}
			if err == nil {
				t.Errorf("build.sh succeeded, want an error")
			}
			if strings.Contains(got, "\n") {
				t.Errorf("build.sh printed:\n%s\nwant one line", got)
			}

			for _, want := range test.want {
				if !strings.Contains(got, want) {
					t.Errorf("build.sh printed %q, want %q in it", got, want)
				}
			}

			if files, _ := filepath.Glob(filepath.Join(dir, "bin/busybox*")); len(files) > 0 {
				t.Errorf("build.sh wrote %v, want nothing", files)
			}
		})
	}
}
