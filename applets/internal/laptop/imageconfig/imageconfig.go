// Package imageconfig asks a registry what an image runs, with the user's own credentials. The
// Kubernetes API does not tell.
package imageconfig

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Command is what an image runs if nobody says otherwise.
type Command struct {
	Entrypoint, Cmd []string
	// From is the image that was asked about.
	From string
}

// maxWords and maxBytes bound what is taken from an image.
const (
	maxWords = 256
	maxBytes = 32 << 10
)

// ReadCommand asks the registry of an image for its command on an architecture. imageID is what the
// kubelet reports of the image that it ran: with a digest in it, that very image is asked about, whatever
// its tag is now.
func ReadCommand(ctx context.Context, image, imageID, arch, userAgent string) (Command, error) {
	spelled := chooseReference(image, imageID)
	reference, err := name.ParseReference(spelled)
	if err != nil {
		return Command{}, fmt.Errorf("read the configuration of image %s: %w", spelled, err)
	}

	got, err := remote.Image(reference, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain),
		remote.WithUserAgent(userAgent), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch}))
	if err != nil {
		return Command{}, fmt.Errorf("read the configuration of image %s: %w", spelled, err)
	}

	file, err := got.ConfigFile()
	if err != nil {
		return Command{}, fmt.Errorf("read the configuration of image %s: %w", spelled, err)
	}

	command := Command{file.Config.Entrypoint, file.Config.Cmd, spelled}
	if words := append(command.Entrypoint, command.Cmd...); len(words) > maxWords || len(strings.Join(words, "")) > maxBytes {
		return Command{}, fmt.Errorf("read the configuration of image %s: its command is too long", spelled)
	}
	return command, nil
}

// chooseReference returns the image with the digest that the kubelet reports, if it reports one of a
// registry.
func chooseReference(image, imageID string) string {
	// Docker's shim put its own scheme before it.
	if _, after, ok := strings.Cut(imageID, "://"); ok {
		imageID = after
	}
	if strings.Contains(imageID, "@sha256:") {
		return imageID
	}
	return image
}
