package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	k8sversion "k8s.io/apimachinery/pkg/version"
)

// OldestMinor is the oldest 1.x of Kubernetes in which ephemeral containers are stable (KEP-277).
const OldestMinor = 25

// ReadServerVersion asks the API server for its version, as "v1.31.2", and its minor version as a
// number. Anybody may ask for it, so success says nothing about the credentials. It returns an
// error whenever it returns no version.
func (c *Cluster) ReadServerVersion(ctx context.Context) (version string, minor int, err error) {
	doing := "get the API server's version"
	text, err := c.core.Get().AbsPath("/version").DoRaw(ctx)
	if err != nil {
		return "", 0, c.explainError(ctx, doing, accessRight{verb: "get", resource: "/version"}, err)
	}

	var said k8sversion.Info
	err = json.Unmarshal(text, &said)
	if err == nil && said.GitVersion == "" {
		err = errors.New("the answer has no gitVersion")
	}
	if err != nil {
		return "", 0, c.explainError(ctx, doing, accessRight{}, &foreignError{err})
	}
	if said.Major != "1" {
		return said.GitVersion, 0, &Error{Doing: doing, Err: fmt.Errorf("unknown version %q", said.GitVersion)}
	}

	minor, err = parseLeadingNumber(said.Minor)
	return said.GitVersion, minor, err
}

// notKubernetes is the hint for an answer that does not come from Kubernetes.
const notKubernetes = "check the address; a proxy or a login page may have answered instead"

// parseLeadingNumber reads the number at the beginning of a text. Some providers write "31+" for
// a minor version.
func parseLeadingNumber(text string) (int, error) {
	end := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if end >= 0 {
		text = text[:end]
	}
	return strconv.Atoi(text)
}

// WhoAmI asks the API server for the user's name. It returns "" if the server accepts the
// credentials but does not tell (before 1.28, KEP-3325).
func (c *Cluster) WhoAmI(ctx context.Context) (string, error) {
	doing := "get the current user"
	name, err := c.reviewSelf(ctx)
	if err == nil {
		return name, nil
	}

	// A server without this API group answers 403 or 404. Another request then has to show
	// that it accepts the credentials.
	if !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
		return "", c.explainError(ctx, doing, accessRight{}, err)
	}

	_, err = c.reviewAccess(ctx, rightGetPods.scopedTo(c.Namespace, ""))
	return "", c.explainError(ctx, doing, rightCreateReview, err)
}

// reviewSelf asks the API server for the user's name, in a request that all users may send.
func (c *Cluster) reviewSelf(ctx context.Context) (string, error) {
	review := authenticationv1.SelfSubjectReview{}
	review.APIVersion, review.Kind = authenticationv1.SchemeGroupVersion.String(), "SelfSubjectReview"
	body, err := json.Marshal(review)
	if err != nil {
		return "", err
	}

	text, err := c.authorization.Post().AbsPath("/apis", review.APIVersion, "selfsubjectreviews").
		SetHeader("Content-Type", runtime.ContentTypeJSON).SetHeader("Accept", runtime.ContentTypeJSON).
		Body(body).DoRaw(ctx)
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(text, &review); err != nil {
		return "", err
	}

	return review.Status.UserInfo.Username, nil
}
