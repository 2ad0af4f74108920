package image

import (
	"context"
	"fmt"
	"io"

	"kdiag/applets"

	"github.com/urfave/cli/v2"
)

func saveApplet() applets.Applet {
	return applets.Applet{
		Name:      "save",
		Summary:   "Write the image to a file that docker, podman and containerd load",
		ArgsUsage: "FILE",
		Args:      []applets.Kind{applets.KindFile, applets.KindNone},
		Examples: `
			kdiag image save kdiag.tar
			kdiag image save --platform=linux/arm64 --image=registry.example/kdiag:v1 kdiag-arm64.tar
			kdiag image save - | docker load`,
		Description: "FILE is - for stdout.",
		Flags: []cli.Flag{
			applets.Takes(applets.KindText, &cli.StringFlag{Name: "platform", Usage: platformUsage}),
			applets.Takes(applets.KindText, &cli.StringFlag{Name: "image", Usage: "Name of the image in the file; default: KDIAG_IMAGE, else this build's", EnvVars: []string{"KDIAG_IMAGE"}}),
			applets.Takes(applets.KindFile, &cli.StringFlag{Name: "binary", Usage: binaryUsage}),
		},
		Run: func(ctx context.Context, inv *applets.Invocation) error {
			if len(inv.Args) != 1 {
				return applets.Usage("image save takes one FILE, - for stdout")
			}
			o := saveOptions{File: inv.Args[0], Image: inv.Flags.String("image"), buildOptions: buildOptions{
				Platform: inv.Flags.String("platform"), Binary: inv.Flags.String("binary"), Version: inv.Build.Version,
			}}
			if o.Image == "" {
				o.Image = inv.Build.Image
			}
			return saveImage(ctx, inv.Streams, o)
		},
	}
}

type saveOptions struct {
	buildOptions
	// File is where the archive goes; "-" is stdout.
	File string
	// Image is the name it has there.
	Image string
}

func saveImage(ctx context.Context, streams applets.Streams, o saveOptions) error {
	tag, err := parseTag(o.Image, false)
	if err != nil {
		return err
	}

	if o.File == "-" && applets.IsTerminal(streams.Out) {
		return applets.WithHint(applets.Usage("image save -: stdout is a terminal, and the archive is binary"),
			"name a file, or pipe it to docker load")
	}

	progress := newMeter(streams.Err)
	progress.startTask("packing "+fullName(tag), 0)
	o.Packed = progress.setDone
	img, err := buildImage(ctx, o.buildOptions)
	progress.clear()
	if err != nil {
		return err
	}

	write := func(w io.Writer) error { return writeArchive(&meteredWriter{ctx, w}, fullName(tag), img) }
	var size int64
	if o.File == "-" {
		out := &countingWriter{to: streams.Out}
		err, size = write(out), out.size
	} else {
		size, err = writeFile(o.File, write)
	}

	if err != nil {
		return fmt.Errorf("image save: %w", err)
	}

	digest, err := img.Digest()
	if err != nil {
		return err
	}

	described, err := describeImage(img)
	if err != nil {
		return err
	}

	fmt.Fprintf(streams.Err, "wrote %s: %s %s, %s, %s\n", describeDestination(o.File), fullName(tag), described.Platform, bytesText(size), digest)
	return nil
}

func describeDestination(file string) string {
	if file == "-" {
		return "to stdout"
	}
	return file
}

// meteredWriter stops when ctx is done.
type meteredWriter struct {
	ctx context.Context
	to  io.Writer
}

func (w *meteredWriter) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.to.Write(p)
}
