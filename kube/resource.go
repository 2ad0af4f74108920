package kube

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

// resource addresses one resource of the API, in one namespace unless it has none. client-go's
// gentype does the same, but its server-side apply would bring a megabyte that every process of
// kdiag initializes at start.
type resource struct {
	client    rest.Interface
	codec     runtime.ParameterCodec
	name      string
	namespace string
}

// apiObject stands for pointers to the types of API objects.
type apiObject[T any] interface {
	*T
	runtime.Object
}

// getObject reads one object by its name.
func getObject[T any, P apiObject[T]](ctx context.Context, r resource, name string) (P, error) {
	got := P(new(T))
	return got, decodeAnswer(r.addressRequest(r.client.Get()).Name(name).Do(ctx), got)
}

// listObjects reads the list of a resource's objects.
func listObjects[T any, P apiObject[T]](ctx context.Context, r resource, options metav1.ListOptions) (P, error) {
	got := P(new(T))
	return got, decodeAnswer(r.addressRequest(r.client.Get()).VersionedParams(&options, r.codec).Do(ctx), got)
}

// createObject creates an object, and returns what the API server made of it.
func createObject[T any, P apiObject[T]](ctx context.Context, r resource, object P) (P, error) {
	made := P(new(T))
	return made, decodeAnswer(r.addressRequest(r.client.Post()).Body(object).Do(ctx), made)
}

// patchObject applies a strategic merge patch to an object's subresource, and returns the new
// object.
func patchObject[T any, P apiObject[T]](ctx context.Context, r resource, name, subresource string, body []byte, options metav1.PatchOptions) (P, error) {
	patched := P(new(T))
	return patched, decodeAnswer(r.addressRequest(r.client.Patch(types.StrategicMergePatchType)).Name(name).SubResource(subresource).
		VersionedParams(&options, r.codec).Body(body).Do(ctx), patched)
}

// decodeAnswer decodes an answer into an object. It returns a *foreignError for an answer that
// reports success but is not an object.
func decodeAnswer(answer rest.Result, object runtime.Object) error {
	err := answer.Into(object)
	var status apierrors.APIStatus
	if err == nil || answer.Error() != nil || errors.As(err, &status) {
		return err
	}

	return &foreignError{err}
}

// watchObjects begins a watch of a resource's objects.
func (r resource) watchObjects(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	options.Watch = true
	return r.addressRequest(r.client.Get()).VersionedParams(&options, r.codec).Watch(ctx)
}

// addressRequest directs a request to the resource.
func (r resource) addressRequest(request *rest.Request) *rest.Request {
	return request.NamespaceIfScoped(r.namespace, r.namespace != "").Resource(r.name)
}
