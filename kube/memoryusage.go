package kube

import (
	"context"
	"encoding/json"
	"time"

	apiresource "k8s.io/apimachinery/pkg/api/resource"
)

// usageTimeout bounds the question what a pod uses: it can be done without.
const usageTimeout = 2 * time.Second

// MemoryUsage asks the metrics API what memory a pod uses, in bytes. ok is false if the cluster has
// none, the user may not ask it, or it does not know the pod yet.
func (c *Cluster) MemoryUsage(ctx context.Context, namespace, pod string) (bytes int64, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, usageTimeout)
	defer cancel()

	text, err := c.core.Get().AbsPath("/apis/metrics.k8s.io/v1beta1/namespaces", namespace, "pods", pod).
		SetHeader("Accept", "application/json").DoRaw(ctx)
	if err != nil {
		return 0, false
	}
	return parseMemoryUsage(text)
}

// parseMemoryUsage adds up what the containers of a PodMetrics use.
func parseMemoryUsage(text []byte) (bytes int64, ok bool) {
	var metrics struct {
		Containers []struct {
			Usage map[string]apiresource.Quantity `json:"usage"`
		} `json:"containers"`
	}
	if json.Unmarshal(text, &metrics) != nil || len(metrics.Containers) == 0 {
		return 0, false
	}

	for _, c := range metrics.Containers {
		used, known := c.Usage["memory"]
		if !known {
			return 0, false
		}
		bytes += used.Value()
	}
	return bytes, true
}
