// Package kube does kdiag's work with the Kubernetes API, by way of client-go: it connects
// as kubectl would, finds pods and containers, adds kdiag's ephemeral containers and runs
// commands in them. It knows nothing of flags.
package kube

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/transport"
	"k8s.io/klog/v2"

	// The one in-tree credential plugin that is still alive; exec plugins
	// need no import.
	_ "k8s.io/client-go/plugin/pkg/client/auth/oidc"
)

// ConnectOptions holds kubectl's connection settings. A zero field leaves what the
// kubeconfig says.
type ConnectOptions struct {
	Kubeconfig string
	Context    string
	Cluster    string
	User       string
	Namespace  string
	Server     string
	Token      string
	As         string
	AsUID      string
	AsGroups   []string

	CertificateAuthority  string
	ClientCertificate     string
	ClientKey             string
	InsecureSkipTLSVerify bool
	TLSServerName         string

	// UserAgent tells the API server who asks; "kdiag" if empty.
	UserAgent string

	// RequestTimeout limits a single API request, in kubectl's spelling ("5s", "0", or a
	// number of seconds); DefaultTimeout if empty. It does not limit watches and streams.
	RequestTimeout string

	// podAccount is where a pod's service account is; podAccountDirectory if empty.
	podAccount string
}

// Cluster talks to one API server, and works in one namespace.
type Cluster struct {
	Namespace string
	clients
	// streams configures connections that last, without a timeout.
	streams  *rest.Config
	prepared preparedConnection
	entries  configEntries
}

// Connect reads the kubeconfig and makes a Cluster. It sends no request. The API server's
// warnings will be written to warnings, each once.
func Connect(o ConnectOptions, warnings io.Writer) (*Cluster, error) {
	silenceClientGo()

	loader := o.configLoader()
	if err := checkKubeconfigFiles(loader.ConfigAccess(), warnings); err != nil {
		return nil, err
	}

	raw, err := loader.RawConfig()
	if err != nil {
		return nil, configError(err)
	}

	if account := o.usePodAccount(raw); account != nil {
		loader = account
		if raw, err = loader.RawConfig(); err != nil {
			return nil, configError(err)
		}
	}

	// client-go has no error for an entry that is named but missing.
	from := o.findEntries(raw)
	if err := o.checkEntries(raw, from); err != nil {
		return nil, err
	}

	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, configError(err)
	}

	config, err := loader.ClientConfig()
	if err != nil {
		return nil, configError(err)
	}

	// No limit of client-go's own: at the end of a time-out it would fail in words of its own. kdiag
	// sends no storms, and the API server has its fair queues (KEP-1040).
	config.QPS = -1
	config.UserAgent = cmp.Or(o.UserAgent, "kdiag")
	config.Wrap(withAuditID(newAuditID()))
	if o.RequestTimeout == "" {
		config.Wrap(boundRequests(DefaultTimeout))
	}
	config.WarningHandler = &warningWriter{out: warnings}
	config.WarningHandlerWithContext = nil
	watchPlugin(config)

	streams := rest.CopyConfig(config)
	streams.Timeout = 0

	clients, err := newClients(config)
	if err != nil {
		return nil, configError(err)
	}

	c := &Cluster{Namespace: namespace, clients: clients, streams: streams, entries: from}
	streams.WrapTransport = transport.Wrappers(c.wrapWebSockets, streams.WrapTransport)
	return c, nil
}

// withAuditID sends an identifier along with every request. The API server records requests
// under it (k8s.io/apiserver, pkg/endpoints/filters/audit_init.go), so an auditor finds
// everything that one run of kdiag did.
func withAuditID(id string) transport.WrapperFunc {
	return func(base http.RoundTripper) http.RoundTripper {
		return roundTripper(func(request *http.Request) (*http.Response, error) {
			request = request.Clone(request.Context())
			request.Header.Set(auditIDHeader, id)
			return base.RoundTrip(request)
		})
	}
}

// newAuditID makes a random UUID (RFC 9562, 5.4), as API servers do.
func newAuditID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// auditIDHeader carries the identifier of a request in the API server's audit log.
const auditIDHeader = "Audit-ID"

// silenceClientGo stops client-go's logging: errors come back as values. It acts once,
// because klog's logger must not change while a goroutine of client-go uses it.
var silenceClientGo = sync.OnceFunc(func() { klog.SetLogger(logr.Discard()) })

// configLoader reads kubeconfig files by kubectl's rules, with the options on top.
func (o ConnectOptions) configLoader() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.Kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, o.configOverrides())
}

// configOverrides puts the options over what a kubeconfig says.
func (o ConnectOptions) configOverrides() *clientcmd.ConfigOverrides {
	return &clientcmd.ConfigOverrides{
		CurrentContext: o.Context,
		Timeout:        o.RequestTimeout,
		Context: clientcmdapi.Context{
			Cluster: o.Cluster, AuthInfo: o.User, Namespace: o.Namespace,
		},
		AuthInfo: clientcmdapi.AuthInfo{
			Token:             o.Token,
			Impersonate:       o.As,
			ImpersonateUID:    o.AsUID,
			ImpersonateGroups: o.AsGroups,
			ClientCertificate: o.ClientCertificate,
			ClientKey:         o.ClientKey,
		},
		ClusterInfo: clientcmdapi.Cluster{
			Server:                o.Server,
			CertificateAuthority:  o.CertificateAuthority,
			InsecureSkipTLSVerify: o.InsecureSkipTLSVerify,
			TLSServerName:         o.TLSServerName,
		},
		// Like kubectl, try a local API proxy if there is no kubeconfig at all.
		ClusterDefaults: clientcmd.ClusterDefaults,
	}
}

// ServerAddress returns the API server's URL for messages, without a password.
func (c *Cluster) ServerAddress() string {
	at, err := url.Parse(c.streams.Host)
	if err != nil {
		return c.streams.Host
	}
	return at.Redacted()
}

// DefaultTimeout limits how long finding a pod and starting a container in it may take.
const DefaultTimeout = 60 * time.Second
