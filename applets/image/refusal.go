package image

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"kdiag/applets"
	"kdiag/mux/wire"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// explainPush rewords the error of a failed push: the registry's own words on one
// line, with a hint.
func (o pushOptions) explainPush(ctx context.Context, tag name.Tag, err error) error {
	var (
		certificate *tls.CertificateVerificationError
		answer      *transport.Error
		dial        *net.OpError
	)

	switch {
	case ctx.Err() != nil:
		return err
	case errors.As(err, &certificate):
		return certificateHint(tag, replaceText(err, certificate.Error()))
	case errors.As(err, &answer):
		answer = o.withReasons(ctx, tag, answer)
		return o.statusHint(tag, answer.StatusCode, replaceText(err, formatReasons(answer)))
	case errors.Is(err, http.ErrSchemeMismatch):
		return applets.WithHint(replaceText(err, registryHost(tag)+" speaks HTTP, not HTTPS"),
			"use --insecure to push to a registry without TLS")
	case errors.As(err, &dial):
		return replaceText(err, dial.Error())
	}

	return replaceText(err, err.Error())
}

// withReasons returns the registry's answer including its reasons. The first request
// of a push is HEAD, whose answer has no body (RFC 9110, 9.3.2). Asking for an upload
// gets the same answer with a body.
func (o pushOptions) withReasons(ctx context.Context, tag name.Tag, answer *transport.Error) *transport.Error {
	if answer.Request == nil || answer.Request.Method != http.MethodHead || answer.StatusCode >= http.StatusInternalServerError {
		return answer
	}
	var again *transport.Error
	err := remote.CheckPushPermission(tag, o.keychain, contextTransport{ctx})
	if errors.As(err, &again) && again.StatusCode == answer.StatusCode {
		return again
	}
	return answer
}

// contextTransport sends requests with a context, for a function that takes none.
type contextTransport struct{ ctx context.Context }

func (b contextTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	return remote.DefaultTransport.RoundTrip(request.WithContext(b.ctx))
}

// formatReasons formats the status and the reasons of an answer.
func formatReasons(answer *transport.Error) string {
	if len(answer.Errors) == 0 {
		return answer.Error()
	}

	var said []string
	for _, reason := range answer.Errors {
		text := reason.Message
		if text == "" {
			text = string(reason.Code)
		}
		said = append(said, text)
	}

	return fmt.Sprintf("%d %s: %s", answer.StatusCode, http.StatusText(answer.StatusCode), strings.Join(said, "; "))
}

func (o pushOptions) statusHint(tag name.Tag, status int, err error) error {
	registry, repository := registryHost(tag), tag.RepositoryStr()
	switch status {
	case http.StatusUnauthorized:
		who, lookup := authn.Resolve(context.Background(), o.keychain, tag.Context())
		if lookup == nil && who == authn.Anonymous {
			return applets.WithHint(err, "no credentials for %s: run 'docker login %s'", registry, registry)
		}
		return applets.WithHint(err, "%s rejected the stored credentials: run 'docker login %s'", registry, registry)
	case http.StatusForbidden:
		return applets.WithHint(err, "this account may not push to %s on %s: ask for access, or push elsewhere", repository, registry)
	case http.StatusNotFound:
		return applets.WithHint(err, "check the name; %s may require that you create %s before the first push", registry, repository)
	}

	return err
}

func certificateHint(tag name.Tag, err error) error {
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return applets.WithHint(err, "make this machine trust the CA that signed the certificate of %s", registryHost(tag))
	}
	return err
}

// rewordedError replaces the text of an error.
type rewordedError struct {
	error
	text string
}

func (e *rewordedError) Unwrap() error { return e.error }
func (e *rewordedError) Error() string { return e.text }

// replaceText gives err a text of its own, as one line of limited length: a proxy may
// have answered with a whole page.
func replaceText(err error, text string) error {
	const limit = 400
	runes := []rune(wire.OneLine(text))
	if len(runes) > limit {
		runes = append(runes[:limit], '…')
	}
	return &rewordedError{err, string(runes)}
}
