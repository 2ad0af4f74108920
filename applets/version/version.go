// Package version is the applet that says which kdiag this is.
package version

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"

	"kdiag/applets"

	"github.com/urfave/cli/v2"
)

// Info is what "version -o json" prints.
type Info struct {
	Client Client `json:"client"`
}

// Client is the binary itself.
type Client struct {
	Version  string `json:"version"`
	Platform string `json:"platform"`
	Go       string `json:"go"`
	// Image is what this binary runs in pods when no other is named.
	Image string `json:"image"`
}

// Applet is "kdiag version".
func Applet() applets.Applet {
	return applets.Applet{
		Name:    "version",
		Summary: "Say which kdiag this is and which image it runs in pods",
		Args:    []applets.Kind{applets.KindNone},
		Examples: `
			kubectl kdiag version                          # one line
			kubectl kdiag version -o json | jq .client     # for programs
		`,
		Flags: []cli.Flag{
			applets.OneOf(&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "Format", Value: "text"}, "text", "json"),
		},
		Run: run,
	}
}

func run(_ context.Context, inv *applets.Invocation) error {
	if len(inv.Args) > 0 {
		return applets.Usage("version takes no arguments, got %q", inv.Args)
	}
	info := Info{Client{
		Version:  inv.Build.Version,
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Go:       runtime.Version(),
		Image:    inv.Build.Image,
	}}
	if inv.Flags.String("output") == "json" {
		encoder := json.NewEncoder(inv.Out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(info)
	}
	_, err := fmt.Fprintf(inv.Out, "kdiag %s %s (%s), image %s\n",
		info.Client.Version, info.Client.Platform, info.Client.Go, info.Client.Image)
	return err
}
