package kube

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// refuser is what turned a request down, as far as the status in the answer
// tells by its structure.
type refuser int

const (
	// byNobody stands for an answer that is no refusal: of a request that the
	// server did not understand, could not work on, or has no object for.
	byNobody refuser = iota
	// byAdmission is admission control of some kind: a plugin such as Pod
	// Security, or a webhook that gives the API server's own reason.
	byAdmission
	// byWebhook is an admission webhook.
	byWebhook
	// byPolicy is a ValidatingAdmissionPolicy or a MutatingAdmissionPolicy.
	byPolicy
	// byMutation is a mutating webhook or policy: the container was let in, but
	// not as it was asked for.
	byMutation
	// byNoReason is a webhook, or the server that does not know what went wrong.
	byNoReason
	// byValidation is the API server's own, which no policy has a part in.
	byValidation
)

// readRefuser reads the status of an answer. It does not tell a missing right
// (403) or credentials that are not taken (401) from a refusal: see
// Cluster.refuser.
func readRefuser(err error) refuser {
	var answer apierrors.APIStatus
	if !errors.As(err, &answer) || isForeign(err) {
		return byNobody
	}

	status := answer.Status()
	about := metav1.StatusDetails{}
	if status.Details != nil {
		about = *status.Details
	}

	switch {
	case slices.ContainsFunc(about.Causes, isFieldError):
		return byValidation
	case len(about.Causes) > 0 && about.Kind != "":
		// policy/validating/dispatcher.go and policy/generic/policy_dispatcher.go of
		// k8s.io/apiserver: the message once more, as a cause without a type.
		return byPolicy
	case status.Code == http.StatusInternalServerError && status.Reason == metav1.StatusReasonUnknown:
		// responsewriters.ErrorToAPIStatus: so goes out an error of any other type.
		return byNoReason
	case !slices.Contains(ownReasons[status.Code], status.Reason):
		// webhook/errors/statuserror.go: a webhook's status goes out as it came, but
		// for a code of at least 400. Most have no reason.
		return byWebhook
	}

	return readRefuserByCode(status.Code, about)
}

// isFieldError reports whether a cause names what is wrong with a field, as
// only apierrors.NewInvalid does.
func isFieldError(cause metav1.StatusCause) bool { return cause.Type != "" }

// ownReasons lists the reasons that the API server itself gives with a code.
// What comes with another one, or none, is a webhook's.
var ownReasons = map[int32][]metav1.StatusReason{
	http.StatusBadRequest:            {metav1.StatusReasonBadRequest},
	http.StatusUnauthorized:          {metav1.StatusReasonUnauthorized},
	http.StatusForbidden:             {metav1.StatusReasonForbidden},
	http.StatusNotFound:              {metav1.StatusReasonNotFound},
	http.StatusMethodNotAllowed:      {metav1.StatusReasonMethodNotAllowed},
	http.StatusNotAcceptable:         {metav1.StatusReasonNotAcceptable},
	http.StatusConflict:              {metav1.StatusReasonConflict, metav1.StatusReasonAlreadyExists},
	http.StatusGone:                  {metav1.StatusReasonGone, metav1.StatusReasonExpired},
	http.StatusRequestEntityTooLarge: {metav1.StatusReasonRequestEntityTooLarge},
	http.StatusUnsupportedMediaType:  {metav1.StatusReasonUnsupportedMediaType},
	http.StatusUnprocessableEntity:   {metav1.StatusReasonInvalid},
	http.StatusTooManyRequests:       {metav1.StatusReasonTooManyRequests},
	http.StatusInternalServerError:   {metav1.StatusReasonInternalError, metav1.StatusReasonServerTimeout},
	http.StatusServiceUnavailable:    {metav1.StatusReasonServiceUnavailable},
	http.StatusGatewayTimeout:        {metav1.StatusReasonTimeout},
}

// readRefuserByCode judges an answer with a reason that the API server gives, too.
func readRefuserByCode(code int32, about metav1.StatusDetails) refuser {
	own := about.Kind != "" || about.RetryAfterSeconds > 0
	switch code {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusUnprocessableEntity:
		return byAdmission
	case http.StatusUnauthorized:
		return byWebhook
	case http.StatusNotFound, http.StatusConflict, http.StatusTooManyRequests:
		// The server's own says which object, or how long to wait.
		if !own {
			return byWebhook
		}
	}

	return byNobody
}

// findRefuser finds out what turned down a request for a container. 401 and 403
// stand for credentials and rights, too, which the server is asked about.
func (c *Cluster) findRefuser(ctx context.Context, pod *corev1.Pod, err error) refuser {
	by := readRefuser(err)
	if by != byNobody && (apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err)) && !c.isAllowed(ctx, injectRight(pod)) {
		return byNobody
	}
	return by
}

// rejection is one profile's container that was turned down, or changed so that
// it is of no use.
type rejection struct {
	by  refuser
	err error
}

// hintWhomToAsk is the hint on what to do about it, or who can.
func (r rejection) hintWhomToAsk(namespace string) string {
	switch r.by {
	case byWebhook:
		return "an admission webhook denied it: ask whoever runs that webhook " +
			"(kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations)"
	case byPolicy:
		return "an admission policy denied it: ask whoever manages that policy " +
			"(kubectl get validatingadmissionpolicies,mutatingadmissionpolicies)"
	case byMutation:
		return "ask whoever runs the cluster's mutating webhooks and policies to exclude this pod " +
			"(kubectl get mutatingwebhookconfigurations,mutatingadmissionpolicies)"
	case byNoReason:
		return "if the message names an admission webhook, ask whoever runs it " +
			"(kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations)"
	case byValidation:
		return validationHint(r.err)
	}

	return "ask whoever sets the cluster's admission policies; the Pod Security level is a label of the namespace " +
		"(kubectl get ns " + namespace + " --show-labels)"
}

// admissionHint is the hint on a request of any kind that the user has the
// right to, where admission is known to have refused it; else empty.
func admissionHint(err error, namespace string) string {
	by := readRefuser(err)
	if by == byWebhook || by == byPolicy || by == byAdmission && apierrors.IsForbidden(err) {
		return rejection{by, err}.hintWhomToAsk(namespace)
	}
	return ""
}

// validationHint says what is at fault where validation minds a part of the
// pod that can have been got wrong on the command line.
func validationHint(err error) string {
	var answer apierrors.APIStatus
	if !errors.As(err, &answer) || answer.Status().Details == nil {
		return ""
	}

	for _, cause := range answer.Status().Details.Causes {
		switch {
		case cause.Field == "spec.ephemeralContainers":
			return "a mutating webhook or policy changes the ephemeral containers that the pod already has; try a new pod"
		case strings.HasSuffix(cause.Field, "].image"):
			return "use another image with --image REF"
		case strings.HasPrefix(cause.Field, "spec."):
			return "kdiag did not set this: a mutating webhook or policy may have changed it " +
				"(kubectl get mutatingwebhookconfigurations,mutatingadmissionpolicies)"
		}
	}

	return ""
}
