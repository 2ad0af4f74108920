package kube

import (
	"fmt"
	"regexp"
	"strings"
)

// CheckImageName returns an error for a text that no container runtime takes for the name of an
// image. It knows the grammar (github.com/distribution/reference, regexp.go), not what images there
// are.
func CheckImageName(image string) error {
	name, digest, hasDigest := strings.Cut(image, "@")
	if at := strings.LastIndex(name, ":"); at > strings.LastIndex(name, "/") {
		if !imageTag.MatchString(name[at+1:]) {
			return fmt.Errorf("%q is not the name of an image: the tag %q has characters that tags may not have", image, name[at+1:])
		}
		name = name[:at]
	}

	host, path, hasHost := strings.Cut(name, "/")
	if !hasHost || !isRegistry(host) {
		host, path = "", name
	}

	switch {
	case strings.TrimSpace(image) != image:
		return fmt.Errorf("%q is not the name of an image: it begins or ends with a space", image)
	case host != "" && !imageHost.MatchString(host):
		return fmt.Errorf("%q is not the name of an image: %q is not a registry's address", image, host)
	case len(name) > maxImageName || hexName.MatchString(name) || !imagePath.MatchString(path):
		return fmt.Errorf("%q is not the name of an image: it must be REPOSITORY[:TAG] in lower case", image)
	case hasDigest && !imageDigest.MatchString(digest):
		return fmt.Errorf("%q is not the name of an image: %q is not a digest, such as sha256:… with 64 hex digits", image, digest)
	}

	return nil
}

// isRegistry reports whether what stands before the first slash is a registry's address rather than
// the beginning of a repository's name.
func isRegistry(host string) bool {
	return host == "localhost" || strings.ContainsAny(host, ".:[") || strings.ToLower(host) != host
}

// maxImageName limits the length of a name without tag and digest.
const maxImageName = 255

// These are the parts of an image's name.
var (
	imageHost   = regexp.MustCompile(`^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?$`)
	imagePath   = regexp.MustCompile(`^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*$`)
	imageTag    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
	imageDigest = regexp.MustCompile(`^(?:sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128})$`)
	// hexName is what runtimes take for an image's ID.
	hexName = regexp.MustCompile(`^[a-f0-9]{64}$`)
)
