package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// layer holds the only layer of the image, compressed. It stays in memory so that a
// registry can ask for it again, and so that the bytes sent are the bytes hashed.
type layer struct {
	blob   []byte
	digest v1.Hash
	diffID v1.Hash
	read   func(n int)
}

// packLayer makes a layer with size bytes of binary as /kdiag.
func packLayer(binary io.Reader, size int64) (*layer, error) {
	blob, plain := new(bytes.Buffer), sha256.New()
	zipped := gzip.NewWriter(blob)
	archive := tar.NewWriter(io.MultiWriter(zipped, plain))
	err := archive.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg,
		Name:     "kdiag",
		Mode:     0o755,
		Size:     size,
		ModTime:  epoch,
		Format:   tar.FormatUSTAR,
	})
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(archive, binary, size); err != nil {
		return nil, err
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	if err := zipped.Close(); err != nil {
		return nil, err
	}

	compressed := sha256.New()
	compressed.Write(blob.Bytes())
	return &layer{blob: blob.Bytes(), digest: digestOf(compressed), diffID: digestOf(plain)}, nil
}

func digestOf(sum hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}
}

// These methods implement v1.Layer.

func (l *layer) Digest() (v1.Hash, error)             { return l.digest, nil }
func (l *layer) DiffID() (v1.Hash, error)             { return l.diffID, nil }
func (l *layer) Size() (int64, error)                 { return int64(len(l.blob)), nil }
func (l *layer) MediaType() (types.MediaType, error)  { return types.OCILayer, nil }
func (l *layer) Uncompressed() (io.ReadCloser, error) { return gzip.NewReader(bytes.NewReader(l.blob)) }

func (l *layer) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(&reportingReader{bytes.NewReader(l.blob), l.read}), nil
}

// reportingReader reports how much is read. It replaces remote.WithProgress, which may
// send on a channel that it has closed when an upload is cancelled, because the HTTP
// transport still reads the body.
type reportingReader struct {
	from   io.Reader
	report func(n int)
}

func (r *reportingReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if r.report != nil && n > 0 {
		r.report(n)
	}
	return n, err
}
