// Sampleimage writes the images that demo and tests run in pods as one
// loadable archive: "sampleimage FILE", from the project's root.
package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	scratchshell "kdiag/scratch-shell"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: sampleimage FILE")
		os.Exit(2)
	}
	if err := writeImages(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "sampleimage:", err)
		os.Exit(1)
	}
}

// file describes an entry of the only layer of an image.
type file struct {
	path string
	mode int64
	data []byte
	link string
}

// writeImages writes all images into one archive.
func writeImages(out string) error {
	app, err := buildProgram("./testdata/sample")
	if err != nil {
		return err
	}

	logger, err := buildProgram("./testdata/logger")
	if err != nil {
		return err
	}

	holder, err := buildProgram("./testdata/holder")
	if err != nil {
		return err
	}

	busybox, err := scratchshell.Binary()
	if err != nil {
		return err
	}

	kdiag, err := os.ReadFile(filepath.Join("bin", "kdiag"))
	if err != nil {
		return err
	}

	scratch := []file{{path: "app", mode: 0o755, data: app}, {path: "data/hello.txt", mode: 0o644, data: []byte("hello from the target\n")}}
	shell := []file{{path: "bin/busybox", mode: 0o755, data: busybox}}
	for _, tool := range []string{"sh", "sleep", "true", "cat", "echo"} {
		shell = append(shell, file{path: "bin/" + tool, link: "busybox"})
	}

	withIptables, err := findIptables()
	if err != nil {
		return err
	}

	images := map[name.Tag]v1.Image{}
	for _, image := range []struct {
		tag    string
		files  []file
		config v1.Config
	}{
		// Nothing but the application.
		{"localhost/kdiag-sample:scratch", scratch, v1.Config{Entrypoint: []string{"/app"}, Env: []string{"SAMPLE=scratch"}, WorkingDir: "/data"}},
		// What a distroless image has: users, no shell, not root.
		{"localhost/kdiag-sample:distroless", append([]file{
			{path: "etc/passwd", mode: 0o644, data: []byte("root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n")},
			{path: "etc/group", mode: 0o644, data: []byte("root:x:0:\nnonroot:x:65532:\n")},
			{path: "home/nonroot/.keep", mode: 0o644},
		}, scratch...), v1.Config{
			Entrypoint: []string{"/app"}, User: "65532",
			Env: []string{"SAMPLE=distroless", "PATH=/usr/bin:/bin"}, WorkingDir: "/home/nonroot",
		}},
		// A shell of its own, to compare with kubectl exec.
		{"localhost/kdiag-sample:full", append(shell, scratch...), v1.Config{Entrypoint: []string{"/app"}, Env: []string{"PATH=/bin"}}},
		// A program that writes numbered lines.
		{"localhost/kdiag-sample:logger", append([]file{{path: "logger", mode: 0o755, data: logger}}, shell...),
			v1.Config{Entrypoint: []string{"/logger"}, Env: []string{"PATH=/bin"}}},
		// An application that holds memory.
		{"localhost/kdiag-sample:holder", append([]file{{path: "holder", mode: 0o755, data: holder}}, shell...),
			v1.Config{Entrypoint: []string{"/holder"}, Env: []string{"PATH=/bin"}}},
		// As large as kdiag's, to compare with kubectl debug.
		{"localhost/kdiag-sample:debug", append([]file{{path: "filler", mode: 0o644, data: kdiag}}, shell...), v1.Config{Env: []string{"PATH=/bin"}}},
		// Kdiag's own image with iptables, for kernels without nftables.
		{"localhost/kdiag:iptables", append(withIptables, file{path: "kdiag", mode: 0o755, data: kdiag}),
			v1.Config{Entrypoint: []string{"/kdiag"}, Env: []string{"PATH=/usr/sbin"}}},
	} {
		tag, err := name.NewTag(image.tag)
		if err != nil {
			return err
		}
		if images[tag], err = buildImage(image.files, image.config); err != nil {
			return err
		}
	}

	return tarball.MultiWriteToFile(out, images)
}

// buildProgram builds a program of this module for Linux, without libc, and returns
// it.
func buildProgram(pkg string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "sample")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)

	out := filepath.Join(dir, "app")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, pkg)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return nil, fmt.Errorf("build %s: %w", pkg, err)
	}

	return os.ReadFile(out)
}

// buildImage returns an image with one layer.
func buildImage(files []file, config v1.Config) (v1.Image, error) {
	archive, err := writeLayer(files)
	if err != nil {
		return nil, err
	}

	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(archive)), nil
	})
	if err != nil {
		return nil, err
	}

	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}

	configFile, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}

	configFile = configFile.DeepCopy()
	configFile.OS, configFile.Architecture = "linux", runtime.GOARCH
	configFile.Config = config
	return mutate.ConfigFile(image, configFile)
}

// writeLayer returns an archive of files, and of the directories that they are in.
func writeLayer(files []file) ([]byte, error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	seen := map[string]bool{}
	for _, f := range files {
		if dir := filepath.Dir(f.path); dir != "." && !seen[dir] {
			for part := dir; part != "."; part = filepath.Dir(part) {
				seen[part] = true
			}
			if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}); err != nil {
				return nil, err
			}
		}

		header := &tar.Header{Typeflag: tar.TypeReg, Name: f.path, Mode: f.mode, Size: int64(len(f.data))}
		if f.link != "" {
			header = &tar.Header{Typeflag: tar.TypeSymlink, Name: f.path, Linkname: f.link}
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}

	if err := w.Close(); err != nil {
		return nil, err
	}

	return archive.Bytes(), nil
}
