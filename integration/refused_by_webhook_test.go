package integration

import (
	"net/http"
	"strings"
	"testing"

	"kdiag/integration/kit"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestPolicyWebhookCodes takes the next profile where a webhook denies SYS_PTRACE,
// with any code that is seen in clusters.
func TestPolicyWebhookCodes(t *testing.T) {
	for _, c := range []struct {
		name   string
		status *metav1.Status
		words  string
	}{
		{"no code", &metav1.Status{Message: "no debugging here"}, "denied the request: no debugging here"},
		{"no status", nil, "denied the request without explanation"},
		{"200", &metav1.Status{Code: http.StatusOK, Message: "well, no"}, "denied the request: well, no"},
		{"400 BadRequest", &metav1.Status{Code: http.StatusBadRequest, Reason: metav1.StatusReasonBadRequest}, "denied the request: BadRequest"},
		{"401", &metav1.Status{Code: http.StatusUnauthorized, Reason: metav1.StatusReasonUnauthorized, Message: "not you"}, "denied the request: not you"},
		{"403", &metav1.Status{Code: http.StatusForbidden, Message: "no debugging"}, "denied the request: no debugging"},
		{"403 Forbidden", &metav1.Status{Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden}, "denied the request: Forbidden"},
		{"404", &metav1.Status{Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound, Message: "no exemption found"}, "no exemption found"},
		{"409", &metav1.Status{Code: http.StatusConflict, Reason: metav1.StatusReasonConflict, Message: "in conflict"}, "in conflict"},
		{"422", &metav1.Status{Code: http.StatusUnprocessableEntity, Message: "no such capability"}, "no such capability"},
		{"422 Invalid", &metav1.Status{Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid, Message: "not this one"}, "not this one"},
		{"429", &metav1.Status{Code: http.StatusTooManyRequests, Reason: metav1.StatusReasonTooManyRequests, Message: "one a day"}, "one a day"},
		{"500", &metav1.Status{Code: http.StatusInternalServerError, Message: "rule does not compile"}, "rule does not compile"},
		{"503", &metav1.Status{Code: http.StatusServiceUnavailable, Message: "not at night"}, "not at night"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			namespace := kit.CreateRootPod(t)
			webhook := kit.Webhook{Kind: "Validating", Answer: kit.DenyCapability("SYS_PTRACE", c.status)}
			webhook.Register(t, namespace)
			_, before := webhook.CountRequests()
			got := kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "echo here")
			if got.Code != 0 || got.Stdout != "here\n" || !strings.Contains(got.Stderr, "profile baseline") || !strings.Contains(got.Stderr, c.words) {
				t.Errorf("shell: %v\nwant a shell of profile baseline, and %q", got, c.words)
			}
			if asked, dry := webhook.CountRequests(); asked != 2 || dry != before {
				t.Errorf("%d requests and %d dry runs, want 2 and none: each profile is its own trial", asked, dry-before)
			}
			kit.VerifyContainerCount(t, namespace, "root", 1)

			report := kit.RunDoctor(t, "-n", namespace, "root")
			report.Verify(t, "pod security: shell", "ok", c.words, "")
		})
	}
}

// TestPolicyDeniesAll quotes the webhook that refuses every profile, says what kind
// of thing refused, and leaves no container.
func TestPolicyDeniesAll(t *testing.T) {
	for name, c := range map[string]struct {
		status *metav1.Status
		hint   string
	}{
		"no code":       {&metav1.Status{Message: "not in this namespace"}, "an admission webhook denied it"},
		"403":           {&metav1.Status{Code: http.StatusForbidden, Message: "not in this namespace"}, "an admission webhook denied it"},
		"403 Forbidden": {&metav1.Status{Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: "not in this namespace"}, "an admission webhook denied it"},
		"401":           {&metav1.Status{Code: http.StatusUnauthorized, Reason: metav1.StatusReasonUnauthorized, Message: "not in this namespace"}, "an admission webhook denied it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			namespace := kit.CreateRootPod(t)
			webhook := kit.Webhook{Kind: "Validating", Answer: kit.DenyCapability("", c.status)}
			webhook.Register(t, namespace)

			const words = "denied the request: not in this namespace"
			kit.ExpectFailure(1, words, c.hint).Verify(t, "shell", kit.RunKdiag(t, "shell", "-n", namespace, "root"))
			kit.ExpectFailure(1, words, c.hint).Verify(t, "shell by name", kit.RunKdiag(t, "shell", "-n", namespace, "root", "--profile=restricted"))
			kit.ExpectFailure(1, words, c.hint).Verify(t, "ps", kit.RunKdiag(t, "ps", "-n", namespace, "root"))
			kit.ExpectFailure(1, words, "NET_ADMIN").Verify(t, "redir", kit.RunKdiag(t, "redir", "-n", namespace, "root", "8080:1"))

			report := kit.RunDoctor(t, "-n", namespace, "root")
			report.Verify(t, "pod security: shell", "failed", words, c.hint)
			report.Verify(t, "pod security: redir", "failed", words, "NET_ADMIN")
			kit.VerifyContainerCount(t, namespace, "root", 0)
		})
	}
}

// TestPolicyLastWord blames the webhook that refuses the last profile, not Pod
// Security, which refuses those before.
func TestPolicyLastWord(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	webhook := kit.Webhook{Kind: "Validating", Answer: kit.DenyCapability("", &metav1.Status{Message: "no image from there"})}
	webhook.Register(t, namespace)
	kit.AddPods(t, namespace, kit.ReadManifest(t, "restricted.yaml"))
	kit.RunKubectl(t, "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
	kit.ExpectFailure(1, "no image from there", "an admission webhook denied it").Verify(t, "shell", kit.RunKdiag(t, "shell", "-n", namespace, "nonroot"))
}

// TestPolicyHintByName names the profiles that would be admitted in place of one
// that was asked for by name.
func TestPolicyHintByName(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	webhook := kit.Webhook{Kind: "Validating", Answer: kit.DenyCapability("SYS_PTRACE", &metav1.Status{Message: "no debuggers"})}
	webhook.Register(t, namespace)
	kit.ExpectFailure(1, "denied the request: no debuggers", "allowed here: --profile=baseline, --profile=restricted (or auto)").Verify(t, "shell",
		kit.RunKdiag(t, "shell", "-n", namespace, "root", "--profile=chroot"))
}

// TestPolicyWebhookDown says at once that a webhook which must be asked does not
// answer, and does not try each profile.
func TestPolicyWebhookDown(t *testing.T) {
	t.Run("gone", func(t *testing.T) {
		t.Parallel()
		namespace := kit.CreateRootPod(t)
		webhook := kit.Webhook{Kind: "Validating", Answer: kit.DenyCapability("SYS_PTRACE", nil)}
		stop := webhook.Register(t, namespace)
		stop()

		for _, args := range [][]string{{"shell", "root"}, {"redir", "root", "8080:1"}} {
			kit.ExpectFailure(1, "failed calling webhook", "ask whoever runs it").Verify(t, args[0], kit.RunKdiag(t, append(args, "-n", namespace)...))
		}

		report := kit.RunDoctor(t, "-n", namespace, "root")
		report.Verify(t, "pod security: shell", "unknown", "failed calling webhook", "ask whoever runs it")
	})

	t.Run("silent", func(t *testing.T) {
		t.Parallel()
		namespace := kit.CreateRootPod(t)
		silent := make(chan struct{})
		webhook := kit.Webhook{Kind: "Validating", Timeout: 1, Answer: kit.DenyCapability("SYS_PTRACE", nil)}
		webhook.Register(t, namespace)
		t.Cleanup(func() { close(silent) })

		webhook.SetAnswer(func(*corev1.EphemeralContainer) *admissionv1.AdmissionResponse { <-silent; return nil })
		kit.ExpectFailure(1, "failed calling webhook", "ask whoever runs it").Verify(t, "shell", kit.RunKdiag(t, "shell", "-n", namespace, "root"))
		if asked, _ := webhook.CountRequests(); asked != 1 {
			t.Errorf("asked %d times, want 1", asked)
		}
	})
}
