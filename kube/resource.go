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

// resource is one resource of the API, in one namespace, or in none where the
// resource has none. client-go's gentype does the same, but for its
// server-side apply it brings a megabyte that every process of ours would
// initialise at start (docs/decisions).
type resource struct {
	client    rest.Interface
	codec     runtime.ParameterCodec
	name      string
	namespace string
}

// apiObject is *T, where that is an object of the API.
type apiObject[T any] interface {
	*T
	runtime.Object
}

func getObject[T any, P apiObject[T]](ctx context.Context, r resource, name string) (P, error) {
	got := P(new(T))
	return got, decodeAnswer(r.addressRequest(r.client.Get()).Name(name).Do(ctx), got)
}

func listObjects[T any, P apiObject[T]](ctx context.Context, r resource, options metav1.ListOptions) (P, error) {
	got := P(new(T))
	return got, decodeAnswer(r.addressRequest(r.client.Get()).VersionedParams(&options, r.codec).Do(ctx), got)
}

func createObject[T any, P apiObject[T]](ctx context.Context, r resource, object P) (P, error) {
	made := P(new(T))
	return made, decodeAnswer(r.addressRequest(r.client.Post()).Body(object).Do(ctx), made)
}

// patchObject applies a strategic merge patch to a subresource.
func patchObject[T any, P apiObject[T]](ctx context.Context, r resource, name, subresource string, body []byte, options metav1.PatchOptions) (P, error) {
	patched := P(new(T))
	return patched, decodeAnswer(r.addressRequest(r.client.Patch(types.StrategicMergePatchType)).Name(name).SubResource(subresource).
		VersionedParams(&options, r.codec).Body(body).Do(ctx), patched)
}

// decodeAnswer reads an answer. One that says all is well, and is no object, is a
// *foreignError.
func decodeAnswer(answer rest.Result, object runtime.Object) error {
	err := answer.Into(object)
	var status apierrors.APIStatus
	if err == nil || answer.Error() != nil || errors.As(err, &status) {
		return err
	}
	return &foreignError{err}
}

func (r resource) watchObjects(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	options.Watch = true
	return r.addressRequest(r.client.Get()).VersionedParams(&options, r.codec).Watch(ctx)
}

func (r resource) addressRequest(request *rest.Request) *rest.Request {
	return request.NamespaceIfScoped(r.namespace, r.namespace != "").Resource(r.name)
}
