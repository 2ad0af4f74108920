package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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

// explainError turns the error of a request into an *Error. right is what the
// request needs, so that a refusal can name it.
func (c *Cluster) explainError(ctx context.Context, doing string, right accessRight, err error) error {
	if err == nil {
		return nil
	}

	var plugin *PluginError
	if errors.As(err, &plugin) {
		return &Error{Doing: doing, Err: fmt.Errorf("%s: %w", c.describeUser(), plugin)}
	}
	if cause := context.Cause(ctx); cause != nil {
		return &Error{Doing: doing, Err: c.explainEnd(cause)}
	}
	if apierrors.IsUnauthorized(err) {
		return c.explainUnauthorized(doing, err)
	}
	if apierrors.IsForbidden(err) && !isForeign(err) && !c.isAllowed(ctx, right) {
		return deniedError(doing, right, err)
	}

	return &Error{Doing: doing, Err: c.simplifyError(err), Next: cmp.Or(admissionHint(err, right.namespace), c.hintFor(err))}
}

// deniedError is the refusal of a request for want of a right.
func deniedError(doing string, right accessRight, err error) error {
	where := ""
	if right.namespace != "" {
		where = fmt.Sprintf(" in namespace %q", right.namespace)
	}
	return &Error{
		Doing: doing,
		Err:   &DeniedError{right.String(), where, err},
		Next:  roleHint(right.String()),
	}
}

// isAllowed asks the API server whether this user has a right. Where it cannot
// be asked, the answer is no.
func (c *Cluster) isAllowed(ctx context.Context, right accessRight) bool {
	may, err := c.reviewAccess(ctx, right)
	return err == nil && may
}

func (c *Cluster) reviewAccess(ctx context.Context, right accessRight) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: right.namespace, Verb: right.verb, Group: right.group,
			Resource: right.resource, Subresource: right.subresource, Name: right.name,
		},
	}}

	answer, err := createObject(ctx, resource{client: c.authorization, codec: c.codec, name: "selfsubjectaccessreviews"}, review)
	if err != nil {
		return false, err
	}

	return answer.Status.Allowed, nil
}

// DeniedError is a request that this user has no right to.
type DeniedError struct {
	right string
	where string
	err   error
}

func (e *DeniedError) Error() string {
	return fmt.Sprintf("not allowed to %s%s: %v", e.right, e.where, e.err)
}
func (e *DeniedError) Unwrap() error { return e.err }

// IsDenied reports whether a request failed for want of a right.
func IsDenied(err error) bool {
	var denied *DeniedError
	return errors.As(err, &denied)
}

// IsRefused reports whether a request failed for want of a right or of
// credentials, which trying again does not change.
func IsRefused(err error) bool {
	return IsDenied(err) || apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err)
}
