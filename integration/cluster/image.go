package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
)

// writePauseArchive writes an image with one file, the program that holds a pod's
// namespaces open. The format is that of `docker save`: the Docker image
// specification v1.2, with manifest.json.
func writePauseArchive(w io.Writer, program []byte) error {
	var layer bytes.Buffer
	if err := writeTar(&layer, file{"pause", 0o755, program}); err != nil {
		return err
	}

	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       map[string]any{"Entrypoint": []string{"/pause"}, "User": "65535:65535"},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{computeDigest(layer.Bytes())}},
	})
	if err != nil {
		return err
	}

	configName := strings.TrimPrefix(computeDigest(config), "sha256:") + ".json"
	manifest, err := json.Marshal([]map[string]any{{
		"Config": configName, "RepoTags": []string{pauseImage}, "Layers": []string{"layer.tar"},
	}})
	if err != nil {
		return err
	}

	return writeTar(w, file{configName, 0o644, config}, file{"layer.tar", 0o644, layer.Bytes()}, file{"manifest.json", 0o644, manifest})
}

// file describes a file in an archive.
type file struct {
	name string
	mode int64
	data []byte
}

// writeTar writes an archive. It depends on nothing but its arguments, so that the
// same files have the same digest.
func writeTar(w io.Writer, files ...file) error {
	out := tar.NewWriter(w)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), Typeflag: tar.TypeReg}
		if err := out.WriteHeader(header); err != nil {
			return err
		}
		if _, err := out.Write(f.data); err != nil {
			return err
		}
	}

	return out.Close()
}

// computeDigest returns the digest by which images name their parts.
func computeDigest(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

// loadPause loads the image without which no pod starts.
func (c *cluster) loadPause(ctx context.Context) error {
	program, err := os.ReadFile(c.Path("bin/pause"))
	if err != nil {
		return err
	}

	archive, err := os.Create(c.Path("run/pause.tar"))
	if err != nil {
		return err
	}
	defer os.Remove(archive.Name())
	defer archive.Close()
	if err := writePauseArchive(archive, program); err != nil {
		return err
	}

	return c.loadImages(ctx, []string{archive.Name()})
}

// loadImages imports image archives in the format of `docker save` or the OCI image
// layout.
func (c *cluster) loadImages(ctx context.Context, files []string) error {
	if _, ok := c.findComponent("containerd"); !ok {
		return fmt.Errorf("containerd is not running: is the cluster up?")
	}

	for _, file := range files {
		if _, err := c.runCtr(ctx, "images", "import", file); err != nil {
			return fmt.Errorf("load %s: %w", file, err)
		}
	}

	// The kubelet sees an image when containerd's CRI part has taken note of it, which
	// it does by a label. A pod started before that would fail, and be tried again only
	// seconds later.
	for {
		all, err := c.runCtr(ctx, "images", "ls", "-q")
		if err != nil {
			return err
		}

		seen, err := c.runCtr(ctx, "images", "ls", "-q", `labels."io.cri-containerd.image"==managed`)
		if err != nil {
			return err
		}
		if all == seen {
			return nil
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// runCtr runs containerd's own client on the images and containers of Kubernetes.
func (c *cluster) runCtr(ctx context.Context, args ...string) (string, error) {
	cmd := c.toolCommand(ctx, c.runtimeProgram("ctr"), append([]string{"--address", c.Path("run/containerd.sock"), "-n", "k8s.io"}, args...)...)
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("ctr: %w: %s", err, strings.TrimSpace(errOut.String()))
	}
	return out.String(), nil
}
