package image

import (
	"fmt"
	"strings"

	"kdiag/applets"

	"github.com/google/go-containerregistry/pkg/name"
)

// parseTag parses the name of an image, REPOSITORY[:TAG]. A digest is a usage error,
// since it is a result of building the image.
func parseTag(text string, insecure bool) (name.Tag, error) {
	if strings.Contains(text, "@") {
		return name.Tag{}, applets.Usage("image %q: must have a tag, not a digest", text)
	}

	var opts []name.Option
	// The library tries plain HTTP on localhost:PORT, not on localhost alone.
	if insecure || strings.HasPrefix(text, "localhost/") {
		opts = append(opts, name.Insecure)
	}

	tag, err := name.NewTag(text, opts...)
	if err != nil {
		return name.Tag{}, applets.Usage("image %q: %w", text, err)
	}

	return tag, nil
}

// fullName returns the name that container runtimes store the image under: with
// registry and tag, as github.com/distribution/reference normalizes it.
func fullName(tag name.Tag) string {
	return fmt.Sprintf("%s/%s:%s", registryHost(tag), tag.RepositoryStr(), tag.TagStr())
}

// registryHost returns the registry as users write it.
func registryHost(tag name.Tag) string {
	if registry := tag.RegistryStr(); registry != name.DefaultRegistry {
		return registry
	}
	return "docker.io"
}
