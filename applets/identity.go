package applets

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/urfave/cli/v2"
)

// CommandName returns the applet's full name without the program's, as in "image
// save".
func (inv *Invocation) CommandName() string {
	return strings.TrimPrefix(strings.TrimPrefix(inv.Path, "kubectl "), "kdiag ")
}

// UserAgent returns the User-Agent header for requests: "kdiag/VERSION (os/arch)
// COMMAND".
func (inv *Invocation) UserAgent() string {
	return fmt.Sprintf("kdiag/%s (%s/%s) %s", inv.Build.Version, runtime.GOOS, runtime.GOARCH, inv.CommandName())
}

// ImageName returns the image to run in pods: --image, else KDIAG_IMAGE, else the
// one that this binary was built for.
func (inv *Invocation) ImageName() string {
	return cmp.Or(inv.Flags.String("image"), os.Getenv("KDIAG_IMAGE"), inv.Build.Image)
}

// ImageFlag declares the flag that ImageName reads.
func ImageFlag(usage string, aliases ...string) cli.Flag {
	return Takes(KindText, &cli.StringFlag{
		Name: "image", Aliases: aliases, Usage: usage, DefaultText: "KDIAG_IMAGE, else this build's",
	})
}
