package kube

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// refuser says what refused a request, as far as the structure of the answer's status tells.
type refuser int

const (
	// byNobody means that the answer is not a refusal: the server did not understand the
	// request, could not serve it, or does not have the object.
	byNobody refuser = iota
	// byAdmission means admission control of some kind: a plugin such as Pod Security, or a
	// webhook that gives the API server's own reason.
	byAdmission
	// byWebhook means an admission webhook.
	byWebhook
	// byPolicy means a ValidatingAdmissionPolicy or a MutatingAdmissionPolicy.
	byPolicy
	// byMutation means a mutating webhook or policy: the container was admitted, but not as
	// kdiag asked for it.
	byMutation
	// byNoReason means a webhook, or a server that does not know what went wrong.
	byNoReason
	// byValidation means the API server's own validation, in which no policy has a part.
	byValidation
)

// readRefuser finds out from the status of an answer what refused the request. It takes a missing
// right (403) and rejected credentials (401) for a refusal: see Cluster.findRefuser.
func readRefuser(err error) refuser {
	var answer apierrors.APIStatus
	if !errors.As(err, &answer) || isForeign(err) {
		return byNobody
	}

	status := answer.Status()
	if isWebhookDenial(status.Message) {
		return byWebhook
	}

	about := metav1.StatusDetails{}
	if status.Details != nil {
		about = *status.Details
	}

	switch {
	case slices.ContainsFunc(about.Causes, isFieldError):
		return byValidation
	case len(about.Causes) > 0 && about.Kind != "":
		// Policies repeat the message as a cause without a type (k8s.io/apiserver,
		// policy/validating/dispatcher.go and policy/generic/policy_dispatcher.go).
		return byPolicy
	case status.Code == http.StatusInternalServerError && status.Reason == metav1.StatusReasonUnknown:
		// The server answers so for any other error (responsewriters.ErrorToAPIStatus).
		return byNoReason
	case !slices.Contains(ownReasons[status.Code], status.Reason):
		// The server passes a webhook's status on, only with a code of at least 400. Most
		// have no reason (webhook/errors/statuserror.go).
		return byWebhook
	}

	return readRefuserByCode(status.Code, about)
}

// isWebhookDenial reports whether an answer is a webhook's no. Its code, reason and details are what
// the webhook likes, the API server's own included; but before the webhook's words the server always
// puts its own (webhook/errors/statuserror.go of k8s.io/apiserver).
func isWebhookDenial(message string) bool {
	quoted, cut := strings.CutPrefix(message, "admission webhook ")
	name, err := strconv.QuotedPrefix(quoted)
	return cut && err == nil && strings.HasPrefix(quoted[len(name):], " denied the request")
}

// isDeniedByWebhook reports whether a webhook refused a request. Of the answer to an exec over SPDY
// client-go keeps the text alone (k8s.io/streaming, spdy/roundtripper.go).
func isDeniedByWebhook(err error) bool {
	var answer apierrors.APIStatus
	switch {
	case err == nil || isForeign(err):
		return false
	case errors.As(err, &answer):
		return isWebhookDenial(answer.Status().Message)
	}
	return isWebhookDenial(strings.TrimPrefix(err.Error(), "unable to upgrade connection: "))
}

// isFieldError reports whether a cause says what is wrong with a field. Only
// apierrors.NewInvalid makes such causes.
func isFieldError(cause metav1.StatusCause) bool { return cause.Type != "" }

// ownReasons lists the reasons that the API server itself gives with each code. An answer with
// another reason, or none, comes from a webhook.
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

// readRefuserByCode judges an answer with a reason that the API server itself also gives.
func readRefuserByCode(code int32, about metav1.StatusDetails) refuser {
	own := about.Kind != "" || about.RetryAfterSeconds > 0
	switch code {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusUnprocessableEntity:
		return byAdmission
	case http.StatusUnauthorized:
		return byWebhook
	case http.StatusNotFound, http.StatusConflict, http.StatusTooManyRequests:
		// The server itself would say which object, or how long to wait.
		if !own {
			return byWebhook
		}
	}

	return byNobody
}

// findRefuser finds out what refused a request for a container. 401 and 403 may also mean missing
// rights or credentials, so it asks the server about them.
func (c *Cluster) findRefuser(ctx context.Context, pod *corev1.Pod, err error) refuser {
	by := readRefuser(err)
	if isDeniedByWebhook(err) {
		return by
	}
	if by != byNobody && (apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err)) && !c.isAllowed(ctx, injectRight(pod)) {
		return byNobody
	}
	return by
}

// rejection says why one profile's container was refused, or changed so that it cannot work.
type rejection struct {
	by  refuser
	err error
}

// These end hints: how to list what may have refused or changed a container.
const (
	listWebhooks = "(kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations)"
	listPolicies = "(kubectl get validatingadmissionpolicies,mutatingadmissionpolicies)"
	listMutating = "(kubectl get mutatingwebhookconfigurations,mutatingadmissionpolicies)"
)

// hintWhomToAsk says what the user can do about a rejection, or whom to ask.
func (r rejection) hintWhomToAsk(namespace string) string {
	switch r.by {
	case byWebhook:
		return "an admission webhook denied it: ask whoever runs that webhook " + listWebhooks
	case byPolicy:
		return "an admission policy denied it: ask whoever manages that policy " + listPolicies
	case byMutation:
		return "ask whoever runs the cluster's mutating webhooks and policies to exclude this pod " + listMutating
	case byNoReason:
		return "if the message names an admission webhook, ask whoever runs it " + listWebhooks
	case byValidation:
		return validationHint(r.err)
	}

	return "ask whoever sets the cluster's admission policies; the Pod Security level is a label of the namespace " +
		"(kubectl get ns " + namespace + " --show-labels)"
}

// admissionHint says whom to ask if admission refused a request that the user has the right to.
// It returns "" if something else is wrong.
func admissionHint(err error, namespace string) string {
	by := readRefuser(err)
	if by == byWebhook || by == byPolicy || by == byAdmission && apierrors.IsForbidden(err) {
		return rejection{by, err}.hintWhomToAsk(namespace)
	}
	return ""
}

// validationHint says what may be wrong when the API server calls a field of the pod invalid.
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
			return "kdiag did not set this: a mutating webhook or policy may have changed it " + listMutating
		}
	}

	return ""
}
