package kube

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Error is a failure that the user is told in one line: what was tried, why it
// failed in the cluster's words, and what to do next.
type Error struct {
	// Doing is the operation and its object: "exec in pod ns/web".
	Doing string
	Err   error
	// Next is the hint; it may be empty.
	Next string
}

func (e *Error) Error() string { return e.Doing + ": " + oneLine(e.Err.Error()) }
func (e *Error) Unwrap() error { return e.Err }

// Hint is what the user may do next.
func (e *Error) Hint() string { return e.Next }

// oneLine folds a message that a server wrote over several lines.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// access is one right in RBAC's terms.
type access struct {
	verb, group, resource, subresource, namespace, name string
}

func (a access) String() string {
	resource := a.resource
	if a.group != "" {
		resource += "." + a.group
	}
	if a.subresource != "" {
		resource += "/" + a.subresource
	}
	return a.verb + " " + resource
}

// explain turns the error of a request into an *Error. right is what the
// request needs, so that a refusal can name it.
func (c *Cluster) explain(ctx context.Context, doing string, right access, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return &Error{Doing: doing, Err: cause}
	}
	if apierrors.IsForbidden(err) && !c.allowed(ctx, right) {
		return denied(doing, right, err)
	}
	return &Error{Doing: doing, Err: c.plain(err), Next: c.hint(err)}
}

// denied is the refusal of a request for want of a right.
func denied(doing string, right access, err error) error {
	where := ""
	if right.namespace != "" {
		where = fmt.Sprintf(" in namespace %q", right.namespace)
	}
	return &Error{
		Doing: doing,
		Err:   fmt.Errorf("no right to %s%s: %w", right, where, err),
		Next:  fmt.Sprintf("ask for a role with the verb %q on %s", right.verb, strings.TrimPrefix(right.String(), right.verb+" ")),
	}
}

// plain drops the layers that only repeat which URL was asked.
func (c *Cluster) plain(err error) error {
	var asked *url.Error
	if errors.As(err, &asked) {
		return fmt.Errorf("API server %s: %w", c.Server(), asked.Err)
	}
	return err
}

func (c *Cluster) hint(err error) string {
	var (
		unknownCA x509.UnknownAuthorityError
		wrongHost x509.HostnameError
		lookup    *net.DNSError
		dial      *net.OpError
	)
	switch {
	case apierrors.IsUnauthorized(err):
		return "the credentials are missing or have expired: log in again, or see kubectl auth whoami"
	case errors.As(err, &unknownCA):
		return "the kubeconfig's certificate-authority does not fit this server; give --certificate-authority FILE"
	case errors.As(err, &wrongHost):
		return "the certificate is for another name; give --tls-server-name NAME"
	case errors.Is(err, context.DeadlineExceeded):
		return "the server did not answer within the bound on one request (--request-timeout)"
	case errors.As(err, &lookup):
		return "is the VPN up, and the right context chosen? kubectl config current-context"
	case errors.As(err, &dial):
		return "is the cluster up, and the right context chosen? kubectl config current-context"
	case apierrors.IsTooManyRequests(err), apierrors.IsServerTimeout(err), apierrors.IsServiceUnavailable(err):
		return "the API server is busy or restarting: try again"
	}
	return ""
}

// allowed asks the API server whether this user has a right. Where it cannot
// be asked, the answer is no.
func (c *Cluster) allowed(ctx context.Context, right access) bool {
	may, err := c.review(ctx, right)
	return err == nil && may
}

func (c *Cluster) review(ctx context.Context, right access) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: right.namespace, Verb: right.verb, Group: right.group,
			Resource: right.resource, Subresource: right.subresource, Name: right.name,
		},
	}}
	answer, err := create(ctx, resource{client: c.authorization, codec: c.codec, name: "selfsubjectaccessreviews"}, review)
	if err != nil {
		return false, err
	}
	return answer.Status.Allowed, nil
}
