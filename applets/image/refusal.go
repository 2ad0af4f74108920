package image

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"kdiag/applets"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// refusal puts a failed push into the registry's own words, on one line, with
// a hint.
func (o pushOptions) refusal(ctx context.Context, tag name.Tag, err error) error {
	if ctx.Err() != nil {
		return err
	}
	var answer *transport.Error
	var untrusted x509.UnknownAuthorityError
	switch {
	case errors.As(err, &answer):
		answer = o.worded(ctx, tag, answer)
		return o.hinted(tag, answer.StatusCode, &registryError{answer})
	case errors.Is(err, http.ErrSchemeMismatch):
		return applets.WithHint(&oneLineError{err}, "--insecure speaks HTTP to a registry without TLS")
	case errors.As(err, &untrusted):
		return applets.WithHint(&oneLineError{err}, "add the authority that signed %s's certificate to those this machine trusts", host(tag))
	}
	return &oneLineError{err}
}

// worded is the registry's answer with its reasons in it. Answers to HEAD,
// the first request of a push, come without (RFC 9110, 9.3.2): asking for an
// upload brings the same refusal with a body.
func (o pushOptions) worded(ctx context.Context, tag name.Tag, answer *transport.Error) *transport.Error {
	if answer.Request == nil || answer.Request.Method != http.MethodHead || answer.StatusCode >= 500 {
		return answer
	}
	var again *transport.Error
	err := remote.CheckPushPermission(tag, o.keychain, bound{ctx})
	if errors.As(err, &again) && again.StatusCode == answer.StatusCode {
		return again
	}
	return answer
}

// bound sends requests under a context, for a function that takes none.
type bound struct{ ctx context.Context }

func (b bound) RoundTrip(request *http.Request) (*http.Response, error) {
	return remote.DefaultTransport.RoundTrip(request.WithContext(b.ctx))
}

func (o pushOptions) hinted(tag name.Tag, status int, err error) error {
	switch status {
	case http.StatusUnauthorized:
		login := "docker login " + host(tag)
		if who, lookup := authn.Resolve(context.Background(), o.keychain, tag.Context()); lookup == nil && who == authn.Anonymous {
			return applets.WithHint(err, "there are no credentials for %s: %s", host(tag), login)
		}
		return applets.WithHint(err, "%s does not take the credentials that are stored for it: %s", host(tag), login)
	case http.StatusForbidden:
		return applets.WithHint(err, "your account at %s may not push to %s: ask for write access, or push to another repository", host(tag), tag.RepositoryStr())
	case http.StatusNotFound:
		return applets.WithHint(err, "check the name; if it is right, %s wants the repository %s to be created before a push", host(tag), tag.RepositoryStr())
	}
	return err
}

// registryError is a registry's refusal: its status and its reasons.
type registryError struct{ answer *transport.Error }

func (e *registryError) Unwrap() error { return e.answer }

func (e *registryError) Error() string {
	if len(e.answer.Errors) == 0 {
		return oneLine(e.answer.Error())
	}
	var reasons []string
	for _, reason := range e.answer.Errors {
		text := reason.Message
		if text == "" {
			text = string(reason.Code)
		}
		reasons = append(reasons, text)
	}
	return oneLine(fmt.Sprintf("%d %s: %s", e.answer.StatusCode, http.StatusText(e.answer.StatusCode), strings.Join(reasons, "; ")))
}

// oneLineError is an error whose text may hold a whole page from a proxy.
type oneLineError struct{ error }

func (e *oneLineError) Unwrap() error { return e.error }
func (e *oneLineError) Error() string { return oneLine(e.error.Error()) }

// oneLine is text on one line of bearable length.
func oneLine(text string) string {
	const limit = 400
	runes := []rune(strings.Join(strings.Fields(text), " "))
	if len(runes) > limit {
		return string(runes[:limit]) + "…"
	}
	return string(runes)
}
