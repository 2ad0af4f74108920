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

// pointer is *T, where that is an object of the API.
type pointer[T any] interface {
	*T
	runtime.Object
}

func get[T any, P pointer[T]](ctx context.Context, r resource, name string) (P, error) {
	got := P(new(T))
	return got, into(r.of(r.client.Get()).Name(name).Do(ctx), got)
}

func list[T any, P pointer[T]](ctx context.Context, r resource, options metav1.ListOptions) (P, error) {
	got := P(new(T))
	return got, into(r.of(r.client.Get()).VersionedParams(&options, r.codec).Do(ctx), got)
}

func create[T any, P pointer[T]](ctx context.Context, r resource, object P) (P, error) {
	made := P(new(T))
	return made, into(r.of(r.client.Post()).Body(object).Do(ctx), made)
}

// patch applies a strategic merge patch to a subresource.
func patch[T any, P pointer[T]](ctx context.Context, r resource, name, subresource string, body []byte, options metav1.PatchOptions) (P, error) {
	patched := P(new(T))
	return patched, into(r.of(r.client.Patch(types.StrategicMergePatchType)).Name(name).SubResource(subresource).
		VersionedParams(&options, r.codec).Body(body).Do(ctx), patched)
}

// into reads an answer. One that says all is well, and is no object, is a
// *foreignError.
func into(answer rest.Result, object runtime.Object) error {
	err := answer.Into(object)
	var status apierrors.APIStatus
	if err == nil || answer.Error() != nil || errors.As(err, &status) {
		return err
	}
	return &foreignError{err}
}

func (r resource) watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	options.Watch = true
	return r.of(r.client.Get()).VersionedParams(&options, r.codec).Watch(ctx)
}

func (r resource) of(request *rest.Request) *rest.Request {
	return request.NamespaceIfScoped(r.namespace, r.namespace != "").Resource(r.name)
}
