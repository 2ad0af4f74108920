package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"kdiag/mux/wire"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Error tells the user in one line what kdiag tried and why it failed, in the cluster's
// words, and in a hint what to do next.
type Error struct {
	// Doing names the operation and its object: "exec in pod ns/web".
	Doing string
	Err   error
	// Next holds the hint; it may be empty.
	Next string
}

func (e *Error) Error() string { return e.Doing + ": " + wire.OneLine(e.Err.Error()) }
func (e *Error) Unwrap() error { return e.Err }

// Hint returns what the user may do next.
func (e *Error) Hint() string { return e.Next }

// explainError turns the error of a request into an *Error. It names the right that the
// request needs if the user does not have it.
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
	if isDeniedByWebhook(err) {
		return &Error{Doing: doing, Err: err, Next: rejection{byWebhook, err}.hintWhomToAsk(right.namespace)}
	}
	if apierrors.IsUnauthorized(err) {
		return c.explainUnauthorized(doing, err)
	}
	if apierrors.IsForbidden(err) && !isForeign(err) && !c.isAllowed(ctx, right) {
		return deniedError(doing, right, err)
	}

	return &Error{Doing: doing, Err: c.simplifyError(err), Next: cmp.Or(admissionHint(err, right.namespace), c.hintFor(err))}
}

// deniedError makes the error of a request that the user has no right to.
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

// isAllowed asks the API server whether this user has a right. It returns false if it gets
// no answer.
func (c *Cluster) isAllowed(ctx context.Context, right accessRight) bool {
	may, err := c.reviewAccess(ctx, right)
	return err == nil && may
}

// reviewAccess asks the API server whether this user has a right.
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

// DeniedError reports a request that this user has no right to.
type DeniedError struct {
	right string
	where string
	err   error
}

func (e *DeniedError) Error() string {
	return fmt.Sprintf("not allowed to %s%s: %v", e.right, e.where, e.err)
}
func (e *DeniedError) Unwrap() error { return e.err }

// IsDenied reports whether a request failed because the user has no right to it.
func IsDenied(err error) bool {
	var denied *DeniedError
	return errors.As(err, &denied)
}

// IsInjectDenied reports whether a request failed because the user may add no container to a pod.
func IsInjectDenied(err error) bool {
	var denied *DeniedError
	return errors.As(err, &denied) && denied.right == rightPatchEphemeral.String()
}

// IsAccessError reports whether a request failed because of the user's rights or credentials,
// so that another try would fail, too.
func IsAccessError(err error) bool {
	return IsDenied(err) || apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err)
}
