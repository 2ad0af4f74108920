package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"testing"
)

// readArchive returns the files of an archive.
func readArchive(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := r.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPauseArchive(t *testing.T) {
	var archive, again bytes.Buffer
	program := []byte("\x7fELF")
	if err := writePauseArchive(&archive, program); err != nil {
		t.Fatal(err)
	}
	if err := writePauseArchive(&again, program); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(archive.Bytes(), again.Bytes()) {
		t.Error("the same program makes two different archives")
	}

	files := readArchive(t, archive.Bytes())
	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil || len(manifest) != 1 {
		t.Fatalf("manifest.json = %s: %v", files["manifest.json"], err)
	}

	m := manifest[0]
	if len(m.RepoTags) != 1 || m.RepoTags[0] != pauseImage {
		t.Errorf("RepoTags = %q, want %q", m.RepoTags, pauseImage)
	}

	var config struct {
		OS     string
		Config struct{ Entrypoint []string }
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}

	if err := json.Unmarshal(files[m.Config], &config); err != nil {
		t.Fatalf("config %q: %v", m.Config, err)
	}
	if m.Config != computeDigest(files[m.Config])[len("sha256:"):]+".json" {
		t.Errorf("config's name %q is not its digest", m.Config)
	}
	if len(m.Layers) != 1 || len(config.RootFS.DiffIDs) != 1 {
		t.Fatalf("layers = %q, diff_ids = %q, want one of each", m.Layers, config.RootFS.DiffIDs)
	}

	layer := files[m.Layers[0]]
	if got := computeDigest(layer); got != config.RootFS.DiffIDs[0] {
		t.Errorf("layer's digest = %s, want %s", got, config.RootFS.DiffIDs[0])
	}
	if got := readArchive(t, layer); !bytes.Equal(got["pause"], program) || len(got) != 1 {
		t.Errorf("layer holds %q, want pause alone", got)
	}
	if len(config.Config.Entrypoint) != 1 || config.Config.Entrypoint[0] != "/pause" {
		t.Errorf("entrypoint = %q, want /pause", config.Config.Entrypoint)
	}
}
