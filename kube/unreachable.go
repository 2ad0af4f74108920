package kube

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"kdiag/mux/wire"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
)

// simplifyError says in an error which server and proxy it came from, and drops the layers that
// only repeat the URL.
func (c *Cluster) simplifyError(err error) error {
	var asked *url.Error
	switch {
	case isForeign(err):
		return fmt.Errorf("API server %s: %w", c.describeServer(), describeForeign(err))
	case errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Errorf("API server %s speaks plain HTTP, not HTTPS: %w", c.describeServer(), http.ErrSchemeMismatch)
	case errors.As(err, &asked) && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
		return fmt.Errorf("API server %s closed the connection without an answer: %w", c.describeServer(), asked.Err)
	case errors.As(err, &asked):
		return fmt.Errorf("API server %s: %w", c.describeServer(), asked.Err)
	}

	return err
}

// explainEnd says why this side gave a request up, and whose answer was late.
func (c *Cluster) explainEnd(cause error) error {
	var timeout *TimeoutError
	if errors.As(cause, &timeout) {
		return fmt.Errorf("API server %s: %w", c.describeServer(), cause)
	}
	return cause
}

// describeServer names the API server, and the proxy on the way to it.
func (c *Cluster) describeServer() string {
	if proxy := c.findProxy(); proxy != nil {
		return fmt.Sprintf("%s through proxy %s", c.ServerAddress(), proxy.Redacted())
	}
	return c.ServerAddress()
}

// findProxy returns the proxy to the API server, or nil.
func (c *Cluster) findProxy() *url.URL {
	choose := c.streams.Proxy
	if choose == nil {
		choose = http.ProxyFromEnvironment // net/http's default, and client-go's
	}

	at, err := url.Parse(c.streams.Host)
	if err != nil {
		return nil
	}

	proxy, err := choose(&http.Request{URL: at})
	if err != nil {
		return nil
	}

	return proxy
}

// isForeign reports whether an answer does not come from a Kubernetes API server, which explains
// errors in an object of kind Status.
func isForeign(err error) bool {
	var foreign *foreignError
	return apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) || errors.As(err, &foreign)
}

// isNotFound reports whether the API server says that an object is not there.
func isNotFound(err error) bool { return apierrors.IsNotFound(err) && !isForeign(err) }

// foreignError reports an answer that is not an object of the API.
type foreignError struct{ err error }

func (e *foreignError) Error() string {
	return "not an answer from a Kubernetes API server: " + shorten(e.err.Error())
}

func (e *foreignError) Unwrap() error { return e.err }

// describeForeign quotes the beginning of an answer that does not come from Kubernetes.
func describeForeign(err error) error {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return err
	}

	code := int(status.Status().Code)
	said := ""
	for _, cause := range status.Status().Details.Causes {
		if cause.Type == metav1.CauseTypeUnexpectedServerResponse {
			said = shorten(wire.OneLine(cause.Message))
		}
	}

	return errors.New(joinReason(fmt.Sprintf("not an answer from a Kubernetes API server: %d %s", code, http.StatusText(code)), said))
}

// shorten cuts off a text of unknown origin after 100 characters.
func shorten(text string) string {
	const maxLength = 100
	if runes := []rune(text); len(runes) > maxLength {
		return string(runes[:maxLength]) + "…"
	}
	return text
}

const (
	hintUp    = "check that the cluster is up and the context is right (kubectl config current-context)"
	hintProxy = "check the proxy: HTTPS_PROXY, NO_PROXY, and proxy-url in the kubeconfig"
)

// hintFor says what the user may do about a request that did not get through.
func (c *Cluster) hintFor(err error) string {
	var (
		unknownCA x509.UnknownAuthorityError
		wrongHost x509.HostnameError
		invalid   x509.CertificateInvalidError
		lookup    *net.DNSError
		dial      *net.OpError
		asked     *url.Error
	)

	switch {
	case isForeign(err) && apierrors.IsBadRequest(err) && strings.HasPrefix(c.ServerAddress(), "http://"):
		return "if the server uses TLS, its address must begin with https://"
	case isFiltered(err) && !quotesPage(err):
		return hintFilter
	case isForeign(err):
		return notKubernetes
	case errors.As(err, &unknownCA):
		return "the certificate-authority in the kubeconfig does not match this server; use --certificate-authority FILE"
	case errors.As(err, &wrongHost):
		return "the certificate is for another name; use --tls-server-name NAME"
	case errors.As(err, &invalid):
		return "check this machine's clock; if it is right, whoever runs the cluster must renew the server's certificate"
	case errors.Is(err, http.ErrSchemeMismatch):
		return "check the port; an address without TLS begins with http://"
	case errors.Is(err, context.DeadlineExceeded):
		return "the server did not answer within --request-timeout"
	case errors.As(err, &dial) && c.findProxy() != nil:
		return hintProxy
	case errors.As(err, &dial) && c.entries == (configEntries{}) && c.streams.Host == clientcmd.ClusterDefaults.Server:
		return "no cluster is configured, so kdiag tried this address: set KUBECONFIG, or use --kubeconfig FILE or --server URL"
	case errors.As(err, &lookup):
		return "check that the VPN is up and the context is right (kubectl config current-context)"
	case errors.As(err, &dial):
		return hintUp
	case errors.Is(err, io.EOF):
		return "a load balancer without a working server does this; check that the cluster is up and the context is right (kubectl config current-context)"
	case errors.As(err, &asked) && c.findProxy() != nil:
		// net/http reports a proxy's refusal to connect as text.
		return hintProxy
	case apierrors.IsTooManyRequests(err), apierrors.IsServerTimeout(err), apierrors.IsServiceUnavailable(err):
		return "the API server is busy or restarting: try again"
	}

	return ""
}
