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

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// explainPush puts a failed push into the registry's own words, on one line, with
// a hint.
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
			"--insecure pushes to a registry without TLS")
	case errors.As(err, &dial):
		return replaceText(err, dial.Error())
	}

	return replaceText(err, err.Error())
}

// withReasons is the registry's answer with its reasons in it. Answers to HEAD,
// the first request of a push, come without (RFC 9110, 9.3.2): asking for an
// upload brings the same refusal with a body.
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

// contextTransport sends requests under a context, for a function that takes none.
type contextTransport struct{ ctx context.Context }

func (b contextTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	return remote.DefaultTransport.RoundTrip(request.WithContext(b.ctx))
}

// formatReasons is what the registry says, after its status.
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
			return applets.WithHint(err, "there are no credentials for %s here: docker login %s", registry, registry)
		}
		return applets.WithHint(err, "%s does not take the stored credentials: docker login %s", registry, registry)
	case http.StatusForbidden:
		return applets.WithHint(err, "this account may not write to %s at %s: ask for the right to, or push elsewhere", repository, registry)
	case http.StatusNotFound:
		return applets.WithHint(err, "is the name right? If so, %s wants %s to be created before the first push", registry, repository)
	}

	return err
}

func certificateHint(tag name.Tag, err error) error {
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return applets.WithHint(err, "add the authority that signed %s's certificate to those this machine trusts", registryHost(tag))
	}
	return err
}

// rewordedError is an error with a text of its own.
type rewordedError struct {
	error
	text string
}

func (e *rewordedError) Unwrap() error { return e.error }
func (e *rewordedError) Error() string { return e.text }

// replaceText gives err a text on one line, and of bearable length: a proxy may
// have answered with a page.
func replaceText(err error, text string) error {
	const limit = 400
	runes := []rune(strings.Join(strings.Fields(text), " "))
	if len(runes) > limit {
		runes = append(runes[:limit], '…')
	}
	return &rewordedError{err, string(runes)}
}
