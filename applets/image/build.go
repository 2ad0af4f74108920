package image

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// buildOptions says what buildImage makes an image from.
type buildOptions struct {
	// Platform is the platform of the image, such as "linux/arm64". Empty means
	// Linux on this machine's architecture.
	Platform string
	// Binary is the file that becomes /kdiag: a static kdiag for Platform. Empty
	// means the running program if it is one, else the file kdiag-linux-<arch>
	// beside it.
	Binary string
	// Version goes into a label of the image.
	Version string
	// Packed, if set, is called while the binary is compressed, with the bytes
	// done so far and in all.
	Packed func(done, total int64)
	// Read, if set, is called while the compressed layer is read for an upload,
	// with the bytes since the last call. It may be called from any goroutine, and
	// even after the upload was given up.
	Read func(n int)

	// self replaces the running program in tests.
	self *program
}

// buildImage builds the image in memory, which takes about 40 % of the binary's size.
// The same binary, platform and version give the same bytes.
func buildImage(ctx context.Context, o buildOptions) (v1.Image, error) {
	target, err := parsePlatform(o.Platform)
	if err != nil {
		return nil, err
	}

	file, err := o.openBinary(target)
	if err != nil {
		return nil, err
	}
	defer file.Close()

	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", file.Name(), err)
	}

	source := &meteredReader{ctx: ctx, from: file, total: info.Size(), report: o.Packed}
	packed, err := packLayer(source, info.Size())
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", file.Name(), err)
	}

	packed.read = o.Read
	return assembleImage(packed, target, o.Version)
}

// openBinary finds the binary for an image, opens it, and checks that it will run in
// a container without any other file.
func (o buildOptions) openBinary(target platform) (*os.File, error) {
	name, err := o.findBinary(target)
	if err != nil {
		return nil, err
	}

	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("binary for %s: %w", target, err)
	}

	found, err := readHeaders(file)
	if err == nil {
		err = found.checkFor(target)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("binary %s: %w", o.displayName(name), err)
	}

	return file, nil
}

// epoch replaces every time in an image, so that each run gives the same bytes.
var epoch = time.Unix(0, 0).UTC()

// licenses lists the licenses of kdiag and of the shell inside it, as NOTICE does, in
// an SPDX expression.
const licenses = "Apache-2.0 AND GPL-2.0-only AND MIT"

func assembleImage(binary v1.Layer, target platform, version string) (v1.Image, error) {
	base := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	base = mutate.ConfigMediaType(base, types.OCIConfigJSON)
	base, err := mutate.ConfigFile(base, &v1.ConfigFile{
		Architecture: target.arch,
		OS:           target.os,
		Created:      v1.Time{Time: epoch},
		RootFS:       v1.RootFS{Type: "layers"},
		Config: v1.Config{
			Entrypoint: []string{"/kdiag"},
			WorkingDir: "/",
			Labels: map[string]string{
				"org.opencontainers.image.title":    "kdiag",
				"org.opencontainers.image.version":  version,
				"org.opencontainers.image.licenses": licenses,
			},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("image config: %w", err)
	}

	built, err := mutate.Append(base, mutate.Addendum{
		Layer:   binary,
		History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "kdiag image"},
	})
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}

	return built, nil
}

// meteredReader reports how far a file was read, and stops when ctx is done.
type meteredReader struct {
	ctx         context.Context
	from        io.Reader
	done, total int64
	report      func(done, total int64)
}

func (r *meteredReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.from.Read(p)
	r.done += int64(n)
	if r.report != nil {
		r.report(r.done, r.total)
	}
	return n, err
}
