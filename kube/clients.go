package kube

import (
	"net/http"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
)

// clients holds REST clients for the five API groups that kdiag uses. The full clientset
// would register every group at start: 9 MB of binary and 1 MB of heap in every process,
// the one in the pod included.
type clients struct {
	core, apps, batch, authorization, discovery rest.Interface
	// dryRun sends trial requests to the core group. Their warnings are not printed.
	dryRun rest.Interface
	// longLived opens logs and watches in the core group. It limits neither how long one
	// takes nor how many begin per second: a caller that opens hundreds limits itself.
	longLived rest.Interface
	codec     runtime.ParameterCodec
	gate      *pluginGate
}

// newClients makes the clients of a configuration. It sends no request.
func newClients(config *rest.Config) (clients, error) {
	scheme, err := newScheme()
	if err != nil {
		return clients{}, err
	}

	// All clients but longLived share one transport.
	gate := newPluginGate()
	httpClient, err := httpClientFor(config, gate)
	if err != nil {
		return clients{}, err
	}

	unlimited := rest.CopyConfig(config)
	unlimited.Timeout = 0
	unlimitedClient, err := httpClientFor(unlimited, gate)
	if err != nil {
		return clients{}, err
	}

	quiet := rest.CopyConfig(config)
	quiet.WarningHandler = rest.NoWarnings{}

	codecs := serializer.NewCodecFactory(scheme).WithoutConversion()
	newClient := func(config *rest.Config, transport *http.Client, group schema.GroupVersion, apiPath string) rest.Interface {
		made, clientErr := newRESTClient(config, transport, group, apiPath, codecs)
		if clientErr != nil {
			err = clientErr
		}
		return made
	}

	made := clients{
		core:          newClient(config, httpClient, corev1.SchemeGroupVersion, "/api"),
		dryRun:        newClient(quiet, httpClient, corev1.SchemeGroupVersion, "/api"),
		longLived:     newClient(unlimited, unlimitedClient, corev1.SchemeGroupVersion, "/api"),
		apps:          newClient(config, httpClient, appsv1.SchemeGroupVersion, "/apis"),
		batch:         newClient(config, httpClient, batchv1.SchemeGroupVersion, "/apis"),
		authorization: newClient(config, httpClient, authorizationv1.SchemeGroupVersion, "/apis"),
		discovery:     newClient(config, httpClient, discoveryv1.SchemeGroupVersion, "/apis"),
		codec:         runtime.NewParameterCodec(scheme),
		gate:          gate,
	}

	return made, err
}

// newScheme registers the types of the API groups that kdiag uses.
func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, batchv1.AddToScheme, authorizationv1.AddToScheme, discoveryv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}

	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	return scheme, nil
}

// newRESTClient makes a client for one API group. It asks for protobuf: JSON would cost the
// server, and each start of kdiag, a millisecond or two more.
func newRESTClient(config *rest.Config, transport *http.Client, group schema.GroupVersion, apiPath string, codecs runtime.NegotiatedSerializer) (rest.Interface, error) {
	own := rest.CopyConfig(config)
	own.GroupVersion = &group
	own.APIPath = apiPath
	own.NegotiatedSerializer = codecs
	own.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	return rest.RESTClientForConfigAndClient(own, transport)
}

// httpClientFor makes an HTTP client that reports the errors of a credential plugin as a
// *PluginError, and does not run one that fails more often than its gate allows.
func httpClientFor(config *rest.Config, gate *pluginGate) (*http.Client, error) {
	made, err := rest.HTTPClientFor(config)
	if err == nil && config.ExecProvider != nil {
		made.Transport = pluginTransport{gatedTransport{made.Transport, config.ExecProvider, gate}}
	}
	return made, err
}

func (c clients) pods(namespace string) resource {
	return resource{c.core, c.codec, "pods", namespace}
}

func (c clients) services(namespace string) resource {
	return resource{c.core, c.codec, "services", namespace}
}

func (c clients) endpointSlices(namespace string) resource {
	return resource{c.discovery, c.codec, "endpointslices", namespace}
}

func (c clients) events(namespace string) resource {
	return resource{c.core, c.codec, "events", namespace}
}

func (c clients) namespaces() resource { return resource{c.core, c.codec, "namespaces", ""} }

func (c clients) nodes() resource { return resource{c.core, c.codec, "nodes", ""} }
