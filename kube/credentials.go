package kube

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
)

// explainUnauthorized says why the API server may have answered 401: the credentials have
// expired, or there are none, or they are wrong.
func (c *Cluster) explainUnauthorized(doing string, err error) *Error {
	who := c.describeUser()

	const again = "log in again, or choose another context with --context (see 'kubectl config get-contexts')"
	if what, at, known := findExpiry(c.streams); known && at.Before(time.Now()) {
		return &Error{Doing: doing, Next: again,
			Err: fmt.Errorf("the %s for %s expired on %s: %w", what, who, at.UTC().Format("2006-01-02 15:04 MST"), err)}
	}

	if !hasCredentials(c.streams) {
		return &Error{Doing: doing, Err: fmt.Errorf("%s has no credentials: %w", who, err),
			Next: "add a token, a client certificate or a credential plugin to the user in the kubeconfig, or use --token"}
	}

	return &Error{Doing: doing, Err: fmt.Errorf("the API server rejected the credentials of %s: %w", who, err),
		Next: "the credentials are wrong or expired: " + again}
}

// IsCredentialsError reports whether a request failed because of its credentials: the API
// server rejected them, or a credential plugin gave none.
func IsCredentialsError(err error) bool {
	var plugin *PluginError
	return errors.As(err, &plugin) || apierrors.IsUnauthorized(err) && !isDeniedByWebhook(err)
}

// describeUser names the user by the kubeconfig.
func (c *Cluster) describeUser() string {
	switch {
	case c.entries.user == "":
		return "this user"
	case c.entries.context == "":
		return fmt.Sprintf("user %q", c.entries.user)
	}
	return fmt.Sprintf("user %q (context %q)", c.entries.user, c.entries.context)
}

// hasCredentials reports whether the configuration has any way to identify its user.
func hasCredentials(config *rest.Config) bool {
	return config.ExecProvider != nil || config.AuthProvider != nil ||
		cmp.Or(config.BearerToken, config.BearerTokenFile, config.Username, config.CertFile, string(config.CertData)) != ""
}

// findExpiry finds out when credentials expire, if they say so: a token that is a JWT, or
// else a client certificate.
func findExpiry(config *rest.Config) (what string, at time.Time, known bool) {
	if at, known = tokenExpiry(config.BearerToken); known {
		return "token", at, true
	}

	data := config.CertData
	if len(data) == 0 && config.CertFile != "" {
		data, _ = os.ReadFile(config.CertFile)
	}

	at, known = certificateExpiry(data)
	return "client certificate", at, known
}

// certificateExpiry reads when the first certificate in a PEM file expires: the leaf (RFC
// 8446, 4.4.2, and crypto/tls).
func certificateExpiry(text []byte) (time.Time, bool) {
	block, text := pem.Decode(text)
	for block != nil && block.Type != "CERTIFICATE" {
		block, text = pem.Decode(text)
	}

	if block == nil {
		return time.Time{}, false
	}

	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}, false
	}

	return certificate.NotAfter, true
}

// maxToken limits the size of tokens that tokenExpiry decodes, in bytes.
const maxToken = 64 << 10

// tokenExpiry reads the claim exp of a JWT (RFC 7519, 4.1.4). It does not check the
// signature: the server has rejected the token already.
func tokenExpiry(token string) (time.Time, bool) {
	parts := strings.Split(token, ".")
	if len(token) > maxToken || len(parts) != 3 {
		return time.Time{}, false
	}

	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || !bytes.HasPrefix(claims, []byte("{")) {
		return time.Time{}, false
	}

	var said struct {
		Expiry float64 `json:"exp"`
	}

	const year10000 = 253402300800
	if json.Unmarshal(claims, &said) != nil || said.Expiry <= 0 || said.Expiry >= year10000 {
		return time.Time{}, false
	}

	return time.Unix(int64(said.Expiry), 0), true
}
