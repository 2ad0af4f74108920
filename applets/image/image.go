// Package image is the applet that makes the image which kdiag runs in pods
// out of kdiag's own binary: "image save" writes it to a file, "image push"
// to a registry. Neither needs a container engine.
package image

import (
	"kdiag/applets"
)

// Applet is "kdiag image".
func Applet() applets.Applet {
	return applets.Applet{
		Name:    "image",
		Summary: "Make the image that runs in pods out of this binary",
		Description: `
			The image holds one file, /kdiag, and is what the Dockerfile builds. The same
			binary gives the same image, byte for byte.`,
		Examples: `
			kdiag image push registry.example/kdiag:v1   # to a registry
			kdiag image save kdiag.tar                   # to a file: docker load, ctr images import
		`,
		ArgsUsage: "save | push",
		Applets:   []applets.Applet{saveApplet(), pushApplet()},
	}
}

const (
	platformUsage = "What the image is for, as linux/arm64; default: linux on this machine's architecture"
	binaryUsage   = "Static Linux kdiag to put into the image; default: this one, or kdiag-linux-ARCH beside it"
)
