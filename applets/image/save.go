package image

import (
	"context"
	"fmt"
	"io"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/units"

	"github.com/urfave/cli/v2"
)

func saveApplet() applets.Applet {
	return applets.Applet{
		Name:      "save",
		Summary:   "Save the image to a file for docker, podman or containerd",
		ArgsUsage: "FILE",
		Args:      []applets.Kind{applets.KindFile, applets.KindNone},
		Examples: `
			kdiag image save kdiag.tar
			kdiag image save --platform=linux/arm64 --image=registry.example/kdiag:v1 kdiag-arm64.tar
			kdiag image save - | docker load`,
		Description: "Use - as FILE to write to stdout.",
		Flags: []cli.Flag{
			applets.Takes(applets.KindText, &cli.StringFlag{Name: "platform", Usage: "Platform of the image, such as linux/arm64", DefaultText: platformDefault}),
			applets.ImageFlag("Name of the image in the file"),
			applets.Takes(applets.KindFile, &cli.StringFlag{Name: "binary", Usage: binaryUsage, DefaultText: binaryDefault}),
		},
		Run: func(ctx context.Context, inv *applets.Invocation) error {
			if len(inv.Args) != 1 {
				return applets.Usage("image save needs one FILE, or - for stdout")
			}

			return saveImage(ctx, inv.Streams, saveOptions{File: inv.Args[0], Image: inv.ImageName(), buildOptions: buildOptions{
				Platform: inv.Flags.String("platform"), Binary: inv.Flags.String("binary"), Version: inv.Build.Version,
			}})
		},
	}
}

type saveOptions struct {
	buildOptions
	// File is the file to write; "-" means stdout.
	File string
	// Image is the name of the image in the file.
	Image string
}

func saveImage(ctx context.Context, streams applets.Streams, o saveOptions) error {
	tag, err := parseTag(o.Image, false)
	if err != nil {
		return err
	}

	if o.File == "-" && applets.IsTerminal(streams.Out) {
		return applets.WithHint(applets.Usage("image save -: stdout is a terminal, but the image is binary data"),
			"give a FILE, or pipe the output to docker load")
	}

	progress := newMeter(streams.Err)
	progress.startTask("packing "+fullName(tag), 0)
	o.Packed = progress.setDone
	img, err := buildImage(ctx, o.buildOptions)
	progress.clear()
	if err != nil {
		return err
	}

	write := func(w io.Writer) error { return writeArchive(&contextWriter{ctx, w}, fullName(tag), img) }
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

	fmt.Fprintf(streams.Err, "wrote %s: %s %s, %s, %s\n", describeDestination(o.File), fullName(tag), described.Platform, units.Size(size), digest)
	return nil
}

func describeDestination(file string) string {
	if file == "-" {
		return "to stdout"
	}
	return file
}

// contextWriter stops writing when ctx is done.
type contextWriter struct {
	ctx context.Context
	to  io.Writer
}

func (w *contextWriter) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.to.Write(p)
}
