package image

import (
	"archive/tar"
	"encoding/json"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// writeArchive writes img, under its full name, as an archive for "docker load",
// "podman load" and "ctr images import". The archive is an image layout
// (opencontainers/image-spec, image-layout.md) that also has the manifest.json of
// docker's own format, like those that docker save has written since v25. So the
// image has the same digest in the archive, in the runtime and in a registry.
func writeArchive(w io.Writer, fullName string, img v1.Image) error {
	manifest, err := img.Manifest()
	if err != nil {
		return err
	}

	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}

	out := archiveWriter{tar.NewWriter(w)}
	if err := out.writeFile(blobPath(manifest.Config.Digest), config); err != nil {
		return err
	}

	layers, err := img.Layers()
	if err != nil {
		return err
	}

	paths := make([]string, 0, len(layers))
	for i, layer := range layers {
		described := manifest.Layers[i]
		paths = append(paths, blobPath(described.Digest))

		blob, err := layer.Compressed()
		if err != nil {
			return err
		}

		err = out.copyFile(blobPath(described.Digest), described.Size, blob)
		blob.Close()
		if err != nil {
			return err
		}
	}

	if err := out.writeLayout(fullName, img); err != nil {
		return err
	}

	err = out.writeJSON("manifest.json", []dockerImage{{
		Config: blobPath(manifest.Config.Digest), RepoTags: []string{fullName}, Layers: paths,
	}})
	if err != nil {
		return err
	}

	return out.Close()
}

// dockerImage holds an entry of manifest.json in docker's format (moby/docker-
// image-spec v1.2, "Combined Image JSON + Filesystem Changeset Format").
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func blobPath(digest v1.Hash) string { return "blobs/" + digest.Algorithm + "/" + digest.Hex }

// archiveWriter writes tar entries that depend only on their content.
type archiveWriter struct{ *tar.Writer }

// writeLayout writes the parts of an OCI image layout: the manifest, and the index
// that names it.
func (w archiveWriter) writeLayout(fullName string, img v1.Image) error {
	raw, err := img.RawManifest()
	if err != nil {
		return err
	}

	digest, err := img.Digest()
	if err != nil {
		return err
	}

	described, err := describeImage(img)
	if err != nil {
		return err
	}

	described.Annotations = map[string]string{
		"io.containerd.image.name": fullName,
		// This has the whole name too, although docker writes only the tag: podman
		// up to v3.4 reads nothing else (containers/podman issue 12560).
		"org.opencontainers.image.ref.name": fullName,
	}
	if err := w.writeFile(blobPath(digest), raw); err != nil {
		return err
	}
	if err := w.writeFile("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)); err != nil {
		return err
	}

	return w.writeJSON("index.json", v1.IndexManifest{
		SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{described},
	})
}

func (w archiveWriter) writeJSON(path string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return w.writeFile(path, text)
}

func (w archiveWriter) writeFile(path string, content []byte) error {
	if err := w.writeHeader(path, int64(len(content))); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}

func (w archiveWriter) copyFile(path string, size int64, content io.Reader) error {
	if err := w.writeHeader(path, size); err != nil {
		return err
	}
	_, err := io.Copy(w, content)
	return err
}

func (w archiveWriter) writeHeader(path string, size int64) error {
	return w.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: path, Mode: 0o644, Size: size, ModTime: epoch, Format: tar.FormatUSTAR,
	})
}

// describeImage returns the descriptor for img in an index, including its platform.
func describeImage(img v1.Image) (v1.Descriptor, error) {
	var none v1.Descriptor
	digest, err := img.Digest()
	if err != nil {
		return none, err
	}

	size, err := img.Size()
	if err != nil {
		return none, err
	}

	media, err := img.MediaType()
	if err != nil {
		return none, err
	}

	config, err := img.ConfigFile()
	if err != nil {
		return none, err
	}

	return v1.Descriptor{MediaType: media, Digest: digest, Size: size, Platform: config.Platform()}, nil
}
