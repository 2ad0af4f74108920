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
		Summary:   "Push the image to a registry",
		ArgsUsage: "IMAGE",
		Args:      []applets.Kind{applets.KindText, applets.KindNone},
		Examples: `
			kdiag image push registry.example/kdiag:v1
			kdiag image push registry.example/kdiag:v1 --platform=linux/amd64,linux/arm64`,
		Description: `
			Uses the credentials of docker login, podman login or a credential helper. Prints
			the name of the image with its digest on stdout.`,
		Flags: []cli.Flag{
			applets.Takes(applets.KindText, &cli.StringSliceFlag{Name: "platform", Usage: "Platforms of the image, comma-separated", DefaultText: platformDefault}),
			applets.Takes(applets.KindFile, &cli.StringSliceFlag{Name: "binary", Usage: binaryUsage + "; repeat for each platform", DefaultText: binaryDefault}),
			&cli.BoolFlag{Name: "insecure", Usage: "Use HTTP for a registry without TLS"},
		},
		Run: func(ctx context.Context, inv *applets.Invocation) error {
			if len(inv.Args) != 1 {
				return applets.Usage("image push needs one IMAGE, as REGISTRY/REPOSITORY:TAG")
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
	// Platforms has comma-separated lists of platforms.
	Platforms []string
	// Binaries has a file for each platform, in any order. If it is empty,
	// buildOptions.Binary says which files are used.
	Binaries []string
	Insecure bool
	Version  string
	// UserAgent identifies kdiag to the registry.
	UserAgent string

	keychain authn.Keychain
	self     *program
}

// pushable is implemented by v1.Image and v1.ImageIndex.
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

// buildFor builds the image for one platform. Its upload will move the meter.
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

// layerBytes returns how much a push sends, except for a few small files.
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

// binaryFor returns the file given with --binary that was built for target, or "" if
// none was given.
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
		return "", fmt.Errorf("no file given with --binary is a static kdiag for %s", target)
	}

	return "", nil
}

// joinImages returns what to push: a single image as it is, several as an index.
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
