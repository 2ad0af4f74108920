package kube

import (
	"net/http"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
)

// clients are REST clients for the four API groups that kdiag uses. The full
// clientset registers every group there is at start: 9 MB of binary and 1 MB
// of heap in each role, the one in the pod included.
type clients struct {
	core, apps, batch, authorization rest.Interface
	// dryRun is core for trial requests, whose warnings nobody wants to read.
	dryRun rest.Interface
	// longLived is core for logs and watches: no bound on how long one takes, and
	// none on requests per second. Who opens them by the hundred bounds how
	// many are open.
	longLived rest.Interface
	codec     runtime.ParameterCodec
}

func newClients(config *rest.Config) (clients, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, batchv1.AddToScheme, authorizationv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return clients{}, err
		}
	}

	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	codecs := serializer.NewCodecFactory(scheme)

	// One transport below all of them.
	httpClient, err := httpClientFor(config)
	if err != nil {
		return clients{}, err
	}

	lasting := rest.CopyConfig(config)
	lasting.Timeout, lasting.QPS = 0, -1
	lastingClient, err := httpClientFor(lasting)
	if err != nil {
		return clients{}, err
	}

	over := func(config *rest.Config, transport *http.Client, group schema.GroupVersion, apiPath string) rest.Interface {
		own := rest.CopyConfig(config)
		own.GroupVersion = &group
		own.APIPath = apiPath
		own.NegotiatedSerializer = codecs.WithoutConversion()
		// JSON costs the server and each start of kdiag a millisecond or two more.
		own.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
		made, clientErr := rest.RESTClientForConfigAndClient(own, transport)
		if clientErr != nil {
			err = clientErr
		}

		return made
	}

	client := func(group schema.GroupVersion, apiPath string) rest.Interface {
		return over(config, httpClient, group, apiPath)
	}
	quiet := rest.CopyConfig(config)
	quiet.WarningHandler = rest.NoWarnings{}
	made := clients{
		core:          client(corev1.SchemeGroupVersion, "/api"),
		dryRun:        over(quiet, httpClient, corev1.SchemeGroupVersion, "/api"),
		longLived:     over(lasting, lastingClient, corev1.SchemeGroupVersion, "/api"),
		apps:          client(appsv1.SchemeGroupVersion, "/apis"),
		batch:         client(batchv1.SchemeGroupVersion, "/apis"),
		authorization: client(authorizationv1.SchemeGroupVersion, "/apis"),
		codec:         runtime.NewParameterCodec(scheme),
	}

	return made, err
}

func httpClientFor(config *rest.Config) (*http.Client, error) {
	made, err := rest.HTTPClientFor(config)
	if err == nil && config.ExecProvider != nil {
		made.Transport = pluginTransport{made.Transport, config.ExecProvider}
	}
	return made, err
}

func (c clients) pods(namespace string) resource {
	return resource{c.core, c.codec, "pods", namespace}
}

func (c clients) services(namespace string) resource {
	return resource{c.core, c.codec, "services", namespace}
}

func (c clients) events(namespace string) resource {
	return resource{c.core, c.codec, "events", namespace}
}

func (c clients) namespaces() resource { return resource{c.core, c.codec, "namespaces", ""} }

func (c clients) nodes() resource { return resource{c.core, c.codec, "nodes", ""} }
