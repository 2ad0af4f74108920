package kube

import (
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
	// dry is core for trial requests, whose warnings nobody wants to read.
	dry   rest.Interface
	codec runtime.ParameterCodec
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
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return clients{}, err
	}
	if config.ExecProvider != nil {
		httpClient.Transport = pluginTransport{httpClient.Transport, config.ExecProvider}
	}
	client := func(group schema.GroupVersion, apiPath string, quiet bool) rest.Interface {
		own := rest.CopyConfig(config)
		own.GroupVersion = &group
		own.APIPath = apiPath
		own.NegotiatedSerializer = codecs.WithoutConversion()
		if quiet {
			own.WarningHandler = rest.NoWarnings{}
		}
		made, clientErr := rest.RESTClientForConfigAndClient(own, httpClient)
		if clientErr != nil {
			err = clientErr
		}
		return made
	}
	made := clients{
		core:          client(corev1.SchemeGroupVersion, "/api", false),
		dry:           client(corev1.SchemeGroupVersion, "/api", true),
		apps:          client(appsv1.SchemeGroupVersion, "/apis", false),
		batch:         client(batchv1.SchemeGroupVersion, "/apis", false),
		authorization: client(authorizationv1.SchemeGroupVersion, "/apis", false),
		codec:         runtime.NewParameterCodec(scheme),
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
