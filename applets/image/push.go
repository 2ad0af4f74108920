package image

import (
	"context"
	"fmt"

	"kdiag/applets"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/urfave/cli/v2"
)

func pushApplet() applets.Applet {
	return applets.Applet{
		Name:      "push",
		Summary:   "Write the image to a registry, with your credentials for it",
		ArgsUsage: "IMAGE",
		Args:      []applets.Kind{applets.KindText, applets.KindNone},
		Examples: `
			kdiag image push registry.example/kdiag:v1
			kdiag image push registry.example/kdiag:v1 --platform=linux/amd64,linux/arm64`,
		Description: `
			The credentials are those of docker login and podman login, credential helpers
			too. The name with the image's digest is printed on stdout.`,
		Flags: []cli.Flag{
			applets.Takes(applets.KindText, &cli.StringSliceFlag{Name: "platform", Usage: platformUsage + "; several, separated by commas, become one image for them all"}),
			applets.Takes(applets.KindFile, &cli.StringSliceFlag{Name: "binary", Usage: binaryUsage + "; once for each platform"}),
			&cli.BoolFlag{Name: "insecure", Usage: "Speak HTTP to a registry that has no TLS"},
		},
		Run: func(ctx context.Context, inv *applets.Invocation) error {
			if len(inv.Args) != 1 {
				return applets.Usage("image push takes one IMAGE, REGISTRY/REPOSITORY:TAG")
			}
			return pushImage(ctx, inv.Streams, pushOptions{
				Image: inv.Args[0], Platforms: inv.Flags.StringSlice("platform"), Binaries: inv.Flags.StringSlice("binary"),
				Insecure: inv.Flags.Bool("insecure"), Version: inv.Build.Version, UserAgent: inv.UserAgent(), keychain: authn.DefaultKeychain,
			})
		},
	}
}

type pushOptions struct {
	// Image is the name to push to.
	Image string
	// Platforms are lists of platforms, separated by commas.
	Platforms []string
	// Binaries are the files for them, in any order; none: see Options.Binary.
	Binaries []string
	Insecure bool
	Version  string
	// UserAgent is what the registry is told of who asks.
	UserAgent string

	keychain authn.Keychain
	self     *program
}

// pushable is a v1.Image or a v1.ImageIndex.
type pushable interface {
	remote.Taggable
	Digest() (v1.Hash, error)
}

func pushImage(ctx context.Context, streams applets.Streams, o pushOptions) error {
	tag, err := parseTag(o.Image, o.Insecure)
	if err != nil {
		return err
	}

	platforms, err := parsePlatforms(o.Platforms)
	if err != nil {
		return err
	}

	progress := newMeter(streams.Err)
	defer progress.clear()
	var images []v1.Image
	for _, target := range platforms {
		img, err := o.buildFor(ctx, target, progress)
		if err != nil {
			return err
		}
		images = append(images, img)
	}

	whole, err := joinImages(images)
	if err != nil {
		return fmt.Errorf("push %s: %w", fullName(tag), err)
	}

	progress.startTask("pushing "+fullName(tag), layerBytes(images))
	err = remote.Push(tag, whole, remote.WithContext(ctx),
		remote.WithAuthFromKeychain(o.keychain), remote.WithUserAgent(o.UserAgent))
	if err != nil {
		return fmt.Errorf("push %s: %w", fullName(tag), o.explainPush(ctx, tag, err))
	}

	progress.clear()
	digest, err := whole.Digest()
	if err != nil {
		return err
	}

	_, err = fmt.Fprintf(streams.Out, "%s@%s\n", fullName(tag), digest)
	return err
}

// buildFor makes the image for one platform; its upload moves the meter.
func (o pushOptions) buildFor(ctx context.Context, target platform, progress *meter) (v1.Image, error) {
	binary, err := o.binaryFor(target)
	if err != nil {
		return nil, err
	}
	progress.startTask("packing for "+target.String(), 0)
	return buildImage(ctx, buildOptions{
		Platform: target.String(), Binary: binary, Version: o.Version,
		Packed: progress.setDone, Read: progress.addDone, self: o.self,
	})
}

// layerBytes is what a push of images sends, but for a few small files.
func layerBytes(images []v1.Image) (total int64) {
	for _, img := range images {
		manifest, err := img.Manifest()
		if err != nil {
			continue
		}
		for _, layer := range manifest.Layers {
			total += layer.Size
		}
	}
	return total
}

// binaryFor is the one of the files named on the command line that is for
// target; empty where none was named.
func (o pushOptions) binaryFor(target platform) (string, error) {
	for _, file := range o.Binaries {
		opened, err := buildOptions{Binary: file}.openBinary(target)
		if err == nil {
			opened.Close()
			return file, nil
		}
		if len(o.Binaries) == 1 {
			return "", err
		}
	}

	if len(o.Binaries) > 0 {
		return "", fmt.Errorf("none of the files named with --binary is a static kdiag for %s", target)
	}

	return "", nil
}

// joinImages makes what is pushed: an image as it is, several as an index.
func joinImages(images []v1.Image) (pushable, error) {
	if len(images) == 1 {
		return images[0], nil
	}

	var index v1.ImageIndex = empty.Index
	for _, img := range images {
		described, err := describeImage(img)
		if err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: described})
	}

	return index, nil
}
