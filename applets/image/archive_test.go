package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// TestArchiveAsDocker reads an archive as docker load does.
func TestArchiveAsDocker(t *testing.T) {
	img := buildFixture(t, "arm64")
	var archive bytes.Buffer
	if err := writeNamedArchive(&archive, "localhost/kdiag:dev", img); err != nil {
		t.Fatal(err)
	}

	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil }
	tag, err := name.NewTag("localhost/kdiag:dev")
	if err != nil {
		t.Fatal(err)
	}

	loaded, err := tarball.Image(open, &tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(loaded); err != nil {
		t.Error(err)
	}

	got, err := loaded.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	if want, err := img.ConfigName(); err != nil || got != want {
		t.Errorf("image ID %s, want %s (%v)", got, want, err)
	}

	wantOnlyKdiag(t, loaded, kdiagFor("arm64").path(t))
}

// TestArchiveAsLayout reads an archive as containerd does.
func TestArchiveAsLayout(t *testing.T) {
	img := buildFixture(t, "arm64")
	var archive bytes.Buffer
	if err := writeNamedArchive(&archive, "kdiag", img); err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	unpack(t, &archive, dir)
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}

	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}

	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 || manifest.Manifests[0].Digest != digest {
		t.Fatalf("index %+v, want one image, %s", manifest, digest)
	}

	entry := manifest.Manifests[0]
	if got := entry.Platform.String(); got != "linux/arm64" {
		t.Errorf("platform %s", got)
	}

	for _, key := range []string{"io.containerd.image.name", "org.opencontainers.image.ref.name"} {
		if got := entry.Annotations[key]; got != "docker.io/library/kdiag:latest" {
			t.Errorf("%s is %q", key, got)
		}
	}
}

func unpack(t *testing.T, archive io.Reader, dir string) {
	t.Helper()
	files := tar.NewReader(archive)
	for {
		entry, err := files.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}

		content, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}

		path := filepath.Join(dir, filepath.FromSlash(entry.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFullName(t *testing.T) {
	for ref, want := range map[string]string{
		"kdiag":                            "docker.io/library/kdiag:latest",
		"me/kdiag:v1":                      "docker.io/me/kdiag:v1",
		"docker.io/me/kdiag:v1":            "docker.io/me/kdiag:v1",
		"localhost/kdiag:dev":              "localhost/kdiag:dev",
		"localhost:5000/kdiag":             "localhost:5000/kdiag:latest",
		"registry.example/a/b/kdiag:v1":    "registry.example/a/b/kdiag:v1",
		"registry.example/UPPER:v1":        "",
		"":                                 "",
		"registry.example/kdiag:":          "",
		"registry.example/kdiag:v1 ":       "",
		"registry.example/kdiag@sha256:00": "",
	} {
		tag, err := parseTag(ref, false)
		if want == "" {
			wantError(t, err, "image \""+ref+"\": ")
			continue
		}

		if err != nil {
			t.Errorf("parseTag(%q) = %v", ref, err)
		} else if got := fullName(tag); got != want {
			t.Errorf("fullName(%q) = %q, want %q", ref, got, want)
		}
	}
}

// writeNamedArchive writes img as an archive under the name ref.
func writeNamedArchive(w io.Writer, ref string, img v1.Image) error {
	tag, err := parseTag(ref, false)
	if err != nil {
		return err
	}
	return writeArchive(w, fullName(tag), img)
}
