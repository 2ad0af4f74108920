package temppod

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"kdiag/applets/internal/laptop/imageconfig"

	corev1 "k8s.io/api/core/v1"
)

// ImageReader asks a registry what an image runs.
type ImageReader func(ctx context.Context, image, imageID, arch string) (imageconfig.Command, error)

// registryTimeout bounds the question to a registry, which can be done without.
const registryTimeout = 5 * time.Second

// findCommand finds out what the target would run. The spec tells, or the image. said is where that is
// known from, or why it is not.
func (r *CopyRequest) findCommand(ctx context.Context, arch string, read ImageReader) (said string) {
	target := r.Target
	if len(target.Command) > 0 {
		r.Command = slices.Concat(target.Command, target.Args)
		return "the pod's spec"
	}

	ctx, cancel := context.WithTimeout(ctx, registryTimeout)
	defer cancel()
	image, err := read(ctx, target.Image, reportedImage(r.Pod, target.Name), cmp.Or(arch, "amd64"))
	if err != nil {
		return fmt.Sprintf("not known: the spec has no command, and the image's own is not in the API: %v", err)
	}

	rest := target.Args
	if len(rest) == 0 {
		rest = escapeDollars(image.Cmd)
	}
	if r.Command = append(escapeDollars(image.Entrypoint), rest...); len(r.Command) == 0 {
		r.Command = nil
		return "not known: neither the spec nor the image has a command"
	}
	return "the configuration of image " + image.From
}

// reportedImage returns the ID of the image that a container of a pod runs, by the kubelet's account.
func reportedImage(pod *corev1.Pod, container string) string {
	for _, status := range slices.Concat(pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses) {
		if status.Name == container {
			return status.ImageID
		}
	}
	return ""
}

// escapeDollars protects words from the kubelet, which expands $(NAME) in a spec's command but not in
// an image's (k8s.io/kubernetes, third_party/forked/golang/expansion).
func escapeDollars(words []string) []string {
	escaped := make([]string, len(words))
	for i, word := range words {
		escaped[i] = strings.ReplaceAll(word, "$", "$$")
	}
	return escaped
}
