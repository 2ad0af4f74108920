package kube

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// noSuchContainer names a container that no pod has: a DNS label does not end in a dash.
const noSuchContainer = "none-"

// ProbeExec finds out whether an exec in a running pod gets through to the API server, and is allowed.
// It asks for a container that there is not, so that nothing runs: the API server says so only after it
// has let the request in.
func (c *Cluster) ProbeExec(ctx context.Context, namespace, pod string) error {
	doing := fmt.Sprintf("exec in pod %s/%s", namespace, pod)
	return c.explainError(ctx, doing, rightCreateExec.scopedTo(namespace, pod), c.tryExec(ctx, namespace, pod))
}

// tryExec asks for an exec that cannot be, and returns why not even that much was possible.
func (c *Cluster) tryExec(ctx context.Context, namespace, pod string) error {
	err := c.core.Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: noSuchContainer, Command: []string{"true"}, Stdout: true}, c.codec).
		Do(ctx).Error()
	if err == nil || !isForeign(err) && (apierrors.IsBadRequest(err) || apierrors.IsNotFound(err)) {
		return nil
	}
	return err
}

// hintFilter is the hint where something on the way to the API server refuses a request.
const hintFilter = "something between this machine and the API server refuses it, as kubectl proxy refuses exec " +
	"unless it is started with --reject-paths='^$'; or use the kubeconfig that the proxy uses"

// isFiltered reports whether something on the way to the API server has refused a request, as kubectl
// proxy does by its filter.
func isFiltered(err error) bool { return isForeign(err) && apierrors.IsForbidden(err) }

// quotesPage reports whether an answer is a page for people, such as one to log in. kubectl proxy
// answers with a word (pkg/proxy/proxy_server.go of kubectl).
func quotesPage(err error) bool { return strings.Contains(describeForeign(err).Error(), "<") }
