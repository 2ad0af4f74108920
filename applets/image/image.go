// Package image implements "kdiag image", which builds the image that runs in pods
// from kdiag's own binary. "image save" writes it to a file, "image push" to a
// registry. Neither needs a container engine.
package image

import (
	"kdiag/applets"
)

// Applet declares "kdiag image".
func Applet() applets.Applet {
	return applets.Applet{
		Name:    "image",
		Summary: "Build the image that runs in pods from this binary",
		Description: `
			The image contains a single file, /kdiag, just as if built from the Dockerfile.
			The same binary always gives the same image, byte for byte.`,
		Examples: `
			kdiag image push registry.example/kdiag:v1   # to a registry
			kdiag image save kdiag.tar                   # to a file: docker load, ctr images import
		`,
		ArgsUsage: "save | push",
		Applets:   []applets.Applet{saveApplet(), pushApplet()},
	}
}

const (
	platformDefault = "linux on this machine's architecture"
	binaryUsage     = "Static Linux kdiag binary to use"
	binaryDefault   = "this one, or kdiag-linux-ARCH beside it"
)
