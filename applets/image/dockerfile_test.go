package image

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"kdiag/integration/testenv"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// TestDockerfile builds the Dockerfile and compares with what Build makes of
// the same binaries.
func TestDockerfile(t *testing.T) {
	tool := newBuildah(t)
	source := t.TempDir()
	if err := os.Mkdir(filepath.Join(source, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}

	for _, name := range []string{"Dockerfile", ".dockerignore"} {
		copyFile(t, filepath.Join("..", "..", name), filepath.Join(source, name), 0o644)
	}

	for _, arch := range []string{"amd64", "arm64"} {
		binary := kdiagFor(arch).path(t)
		copyFile(t, binary, filepath.Join(source, "bin", "kdiag-linux-"+arch), 0o700)
		copyFile(t, binary, filepath.Join(source, "bin", "kdiag-mine"), 0o755)
		for _, args := range [][]string{
			{"--platform=linux/" + arch},
			{"--platform=linux/" + arch, "--build-arg=BINARY=bin/kdiag-mine"},
		} {
			args = append(args, "--build-arg=VERSION=v1.2.3", source)
			sameImage(t, tool.build(args...), buildFixture(t, arch))
		}
	}
}

// sameImage compares what a container would see of two images. Left out are
// the times, what the tools tell of themselves, and the PATH that a Dockerfile
// adds to an empty image.
func sameImage(t *testing.T, got, want v1.Image) {
	t.Helper()
	if got, want := fileSystem(t, got), fileSystem(t, want); !slices.Equal(got, want) {
		t.Errorf("files of the Dockerfile's image: %q, want %q", got, want)
	}

	gotFile, err := got.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}

	wantFile, err := want.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if gotFile.OS != wantFile.OS || gotFile.Architecture != wantFile.Architecture {
		t.Errorf("the Dockerfile's image is for %s, want %s", gotFile.Platform(), wantFile.Platform())
	}

	config := gotFile.Config
	config.Env = slices.DeleteFunc(config.Env, func(v string) bool { return strings.HasPrefix(v, "PATH=") })
	if len(config.Env) == 0 {
		config.Env = nil
	}

	maps.DeleteFunc(config.Labels, func(key, _ string) bool { return strings.HasPrefix(key, "io.buildah.") })
	if !reflect.DeepEqual(config, wantFile.Config) {
		t.Errorf("config of the Dockerfile's image: %+v, want %+v", config, wantFile.Config)
	}
}

// fileSystem lists an image's files: kind, mode, owner, name and content.
func fileSystem(t *testing.T, img v1.Image) []string {
	t.Helper()
	flat := mutate.Extract(img)
	defer flat.Close()
	files := tar.NewReader(flat)
	var list []string
	for {
		entry, err := files.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}

		sum := sha256.New()
		if _, err := io.Copy(sum, files); err != nil {
			t.Fatal(err)
		}

		list = append(list, fmt.Sprintf("%c %04o %d:%d %s %x", entry.Typeflag, entry.Mode&0o7777, entry.Uid, entry.Gid, entry.Name, sum.Sum(nil)))
	}
}

// buildah builds Dockerfiles with no daemon, and keeps all it has in one
// directory.
type buildah struct {
	t    *testing.T
	dir  string
	path string
}

func newBuildah(t *testing.T) buildah {
	t.Helper()
	path, err := exec.LookPath("buildah")
	if err != nil {
		testenv.Missing(t, "needs the package buildah")
	}
	if os.Geteuid() != 0 {
		testenv.Missing(t, "needs root, for buildah's chroot isolation")
	}
	return buildah{t, t.TempDir(), path}
}

func (b buildah) run(args ...string) {
	b.t.Helper()
	global := []string{"--root", filepath.Join(b.dir, "root"), "--runroot", filepath.Join(b.dir, "run"), "--storage-driver", "vfs"}
	run := exec.Command(b.path, append(global, args...)...)
	run.Env = append(os.Environ(), "TMPDIR="+b.dir, "HOME="+b.dir, "BUILDAH_ISOLATION=chroot")
	if out, err := run.CombinedOutput(); err != nil {
		b.t.Fatalf("buildah %q: %v\n%s", args, err, out)
	}
}

// build builds the context, the last of args, and returns the image.
func (b buildah) build(args ...string) v1.Image {
	b.t.Helper()
	out := b.t.TempDir()
	b.run(append([]string{"build", "--isolation=chroot", "--pull-never", "--no-cache", "--tag=localhost/built:test"}, args...)...)
	b.run("push", "localhost/built:test", "oci:"+out)
	index, err := layout.ImageIndexFromPath(out)
	if err != nil {
		b.t.Fatal(err)
	}

	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		b.t.Fatalf("buildah's image: %+v, %v", manifest, err)
	}

	img, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		b.t.Fatal(err)
	}

	return img
}

// TestArchiveInContainersStorage loads an archive in both of its forms into
// the storage that podman and CRI-O have.
func TestArchiveInContainersStorage(t *testing.T) {
	tool := newBuildah(t)
	file := filepath.Join(t.TempDir(), "kdiag.tar")
	img := buildFixture(t, "amd64")
	if _, err := writeFile(file, func(w io.Writer) error { return writeNamedArchive(w, "localhost/kdiag:v1", img) }); err != nil {
		t.Fatal(err)
	}

	for _, form := range []string{"docker-archive:", "oci-archive:"} {
		tool.run("pull", "--arch=amd64", form+file)
		tool.run("inspect", "--type=image", "localhost/kdiag:v1")
		tool.run("rmi", "localhost/kdiag:v1")
	}
}

func copyFile(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	// The mode is that of a new file only.
	if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, mode); err != nil {
		t.Fatal(err)
	}
}
