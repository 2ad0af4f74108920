package kube

import (
	"fmt"
	"slices"
	"strings"

	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
)

// FindPulledImage finds an ephemeral container of the pod that runs or ran with an image, so
// that the node can pull it. It returns "" and an error if another waits for the image in vain: what
// the kubelet says now counts for more than what worked once.
func FindPulledImage(pod *corev1.Pod, image string) (container string, err error) {
	for i := range pod.Spec.EphemeralContainers {
		spec := &pod.Spec.EphemeralContainers[i]
		status := findStatus(pod, spec.Name)
		switch {
		case spec.Image != image || status == nil:
		case status.State.Running != nil, status.State.Terminated != nil && status.State.Terminated.Reason != "StartError":
			container = spec.Name
		case status.State.Waiting != nil && !slices.Contains(startingReasons, status.State.Waiting.Reason):
			err = fmt.Errorf("container %s is waiting: %s", spec.Name,
				wire.OneLine(joinReason(status.State.Waiting.Reason, status.State.Waiting.Message)))
		}
	}

	if err != nil {
		return "", err
	}
	return container, nil
}

// HasImage reports whether a node lists an image among those that it has. Nodes list only the
// 50 largest (kubelet, nodeStatusMaxImages), so false means little.
func HasImage(node *corev1.Node, image string) bool {
	full := expandImageName(image)
	for i := range node.Status.Images {
		if slices.Contains(node.Status.Images[i].Names, full) {
			return true
		}
	}
	return false
}

// expandImageName adds the default registry and tag to a reference that leaves them out, as
// runtimes do (github.com/distribution/reference, ParseNormalizedNamed and TagNameOnly).
func expandImageName(image string) string {
	host, _, cut := strings.Cut(image, "/")
	switch {
	case !cut:
		image = "docker.io/library/" + image
	case !strings.ContainsAny(host, ".:") && host != "localhost":
		image = "docker.io/" + image
	}

	if last := image[strings.LastIndex(image, "/"):]; !strings.ContainsAny(last, ":@") {
		image += ":latest"
	}

	return image
}
