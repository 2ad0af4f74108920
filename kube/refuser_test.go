package kube

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// webhookStatus returns the status that an API server makes of a webhook's answer
// (webhook/errors/statuserror.go of k8s.io/apiserver).
func webhookStatus(code int32, reason metav1.StatusReason) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: max(code, http.StatusBadRequest), Reason: reason,
		Message: `admission webhook "w" denied the request: no`,
	}}
}

// policyStatus returns what it makes of a policy's answer (policy/validating/dispatcher.go).
func policyStatus(code int32, reason metav1.StatusReason) error {
	err := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "web", errors.New("denied"))
	err.ErrStatus.Code, err.ErrStatus.Reason = code, reason
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Message: "denied"}}
	return err
}

// TestReadRefuser reads the statuses as the API server makes them.
func TestReadRefuser(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	invalid := func(all ...*field.Error) error {
		return apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "web", all)
	}
	for _, c := range []struct {
		name string
		err  error
		want refuser
	}{
		{"a webhook without a code", webhookStatus(0, ""), byWebhook},
		{"a webhook with 200", webhookStatus(http.StatusOK, ""), byWebhook},
		{"a webhook with 403", webhookStatus(http.StatusForbidden, ""), byWebhook},
		{"a webhook with 403 and a reason of its own", webhookStatus(http.StatusForbidden, "no debugging"), byWebhook},
		{"a webhook with 401", webhookStatus(http.StatusUnauthorized, metav1.StatusReasonUnauthorized), byWebhook},
		{"a webhook with 404", webhookStatus(http.StatusNotFound, metav1.StatusReasonNotFound), byWebhook},
		{"a webhook with 409", webhookStatus(http.StatusConflict, metav1.StatusReasonConflict), byWebhook},
		{"a webhook with 418", webhookStatus(http.StatusTeapot, ""), byWebhook},
		{"a webhook with 429", webhookStatus(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests), byWebhook},
		{"a webhook with 500", webhookStatus(http.StatusInternalServerError, ""), byWebhook},
		{"a webhook with 503", webhookStatus(http.StatusServiceUnavailable, ""), byWebhook},

		{"Pod Security", apierrors.NewForbidden(pods, "web", errors.New("violates PodSecurity")), byAdmission},
		{"a webhook with 400 and the server's reason", webhookStatus(0, metav1.StatusReasonBadRequest), byWebhook},
		{"a webhook with 422 and the server's reason", webhookStatus(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid), byWebhook},

		{"a policy", policyStatus(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid), byPolicy},
		{"a policy with 403", policyStatus(http.StatusForbidden, metav1.StatusReasonForbidden), byPolicy},
		{"a policy with 413", policyStatus(http.StatusRequestEntityTooLarge, metav1.StatusReasonRequestEntityTooLarge), byPolicy},
		{"a mutating policy that fails", policyStatus(http.StatusForbidden, metav1.StatusReasonInvalid), byPolicy},

		{"validation", invalid(field.Invalid(field.NewPath("spec"), "x", "no")), byValidation},
		{"validation of a static pod", invalid(field.Forbidden(field.NewPath(""), "no")), byValidation},

		{"a pod that is not there", apierrors.NewNotFound(pods, "web"), byNobody},
		{"a conflict", apierrors.NewConflict(pods, "web", errors.New("changed")), byNobody},
		{"a busy server", apierrors.NewTooManyRequests("later", 1), byNobody},
		{"a webhook that does not answer", apierrors.NewInternalError(errors.New("failed calling webhook")), byNobody},
		{"a server that has no storage", apierrors.NewServiceUnavailable("no"), byNobody},
		{"a time-out", apierrors.NewTimeoutError("late", 1), byNobody},
		{"a large request", apierrors.NewRequestEntityTooLargeError("large"), byNobody},
		{"an unknown type", apierrors.NewGenericServerResponse(http.StatusUnsupportedMediaType, "patch", pods, "web", "", 0, false), byNobody},
		{"an answer that is no status", apierrors.NewGenericServerResponse(http.StatusForbidden, "patch", pods, "web", "<html>", 0, true), byNobody},
		{"no answer", context.DeadlineExceeded, byNobody},
	} {
		if got := readRefuser(c.err); got != c.want {
			t.Errorf("%s: readRefuser = %d, want %d", c.name, got, c.want)
		}
	}
}

// TestHintWhomToAsk wants no policy blamed for what validation refuses.
func TestHintWhomToAsk(t *testing.T) {
	for path, want := range map[*field.Path]string{
		field.NewPath("spec", "ephemeralContainers"):                                              "already has",
		field.NewPath("spec", "ephemeralContainers").Index(0).Child("image"):                      "--image REF",
		field.NewPath("spec", "ephemeralContainers").Index(0).Child("securityContext", "procMnt"): "may have changed it",
		field.NewPath("metadata", "labels"):                                                       "",
	} {
		err := apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "web", field.ErrorList{field.Forbidden(path, "no")})
		got := rejection{readRefuser(err), err}.hintWhomToAsk("ns")
		if !strings.Contains(got, want) || want == "" && got != "" || strings.Contains(got, "refused") {
			t.Errorf("hint for %s = %q, want %q", path, got, want)
		}
	}
}
