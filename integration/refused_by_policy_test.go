package integration

import (
	"fmt"
	"kdiag/integration/kit"
	"net/http"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestPolicyWebhookCodes has a webhook deny SYS_PTRACE with every code that is
// seen in clusters: each is a refusal, which leaves the next profile.
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
			hook := kit.Webhook{Kind: "Validating", Answer: kit.DenyCapability("SYS_PTRACE", c.status)}
			hook.Register(t, namespace)
			_, before := hook.CountRequests()
			got := kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "echo here")
			if got.Code != 0 || got.Stdout != "here\n" || !strings.Contains(got.Stderr, "profile baseline") || !strings.Contains(got.Stderr, c.words) {
				t.Errorf("shell: %v\nwant a shell of profile baseline, and %q", got, c.words)
			}
			if asked, dry := hook.CountRequests(); asked != 2 || dry != before {
				t.Errorf("%d requests and %d dry runs, want 2 and none: each profile is its own trial", asked, dry-before)
			}
			if made := kit.ListEphemeralContainers(t, namespace, "root"); len(made) != 1 {
				t.Errorf("containers: %q, want 1", made)
			}

			checks, all := kit.RunDoctor(t, "-n", namespace, "root")
			status := "ok"
			if c.name == "400 BadRequest" {
				status = "unknown" // so does a webhook refuse that takes no dry runs
			}

			kit.ExpectCheck("pod security: shell", status, c.words, "").Verify(t, checks, all)
		})
	}
}

// TestPolicyReasons has a ValidatingAdmissionPolicy deny with each reason that
// one may give.
func TestPolicyReasons(t *testing.T) {
	for reason, actions := range map[string]string{
		"": "Deny", "Invalid": "Deny, Audit", "Forbidden": "Deny", "RequestEntityTooLarge": "Deny",
	} {
		t.Run("reason "+reason, func(t *testing.T) {
			t.Parallel()
			namespace := kit.CreateRootPod(t)
			createPolicy(t, namespace, reason, actions)
			got := kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "echo here")
			if got.Code != 0 || got.Stdout != "here\n" || !strings.Contains(got.Stderr, "profile baseline") || !strings.Contains(got.Stderr, "not for ephemeral containers") {
				t.Errorf("shell: %v\nwant a shell of profile baseline, and the policy's words", got)
			}
		})
	}
}

// createPolicy has a ValidatingAdmissionPolicy deny SYS_PTRACE in a namespace, and
// waits until it holds.
func createPolicy(t *testing.T, namespace, reason, actions string) {
	t.Helper()
	if reason != "" {
		reason = "reason: " + reason
	}

	kit.ApplyClusterWide(t, fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: %[1]s}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], operations: [UPDATE], resources: [pods/ephemeralcontainers]}
  validations:
  - expression: >-
      object.spec.ephemeralContainers.all(c, !has(c.securityContext.capabilities.add) ||
      !c.securityContext.capabilities.add.exists(a, a == 'SYS_PTRACE'))
    message: SYS_PTRACE is not for ephemeral containers
    %[2]s
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: %[1]s}
spec:
  policyName: %[1]s
  validationActions: [%[3]s]
  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}}
`, namespace, reason, actions))

	kit.WaitUntil(t, "the policy to hold", func() bool {
		_, all := kit.RunDoctor(t, "-n", namespace, "root")
		return strings.Contains(all.Stdout, "not for ephemeral containers")
	})
}

// TestPolicyDeniesAll has every profile refused: kdiag says in the cluster's
// words why, which kind of thing it was, and leaves no container.
func TestPolicyDeniesAll(t *testing.T) {
	for name, c := range map[string]struct {
		status *metav1.Status
		hint   string
	}{
		"no code":       {&metav1.Status{Message: "not in this namespace"}, "an admission webhook refused it"},
		"403":           {&metav1.Status{Code: http.StatusForbidden, Message: "not in this namespace"}, "an admission webhook refused it"},
		"403 Forbidden": {&metav1.Status{Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: "not in this namespace"}, "ask who sets the cluster's admission policies"},
		"401":           {&metav1.Status{Code: http.StatusUnauthorized, Reason: metav1.StatusReasonUnauthorized, Message: "not in this namespace"}, "an admission webhook refused it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			namespace := kit.CreateRootPod(t)
			hook := kit.Webhook{Kind: "Validating", Answer: kit.DenyCapability("", c.status)}
			hook.Register(t, namespace)
			const words = "denied the request: not in this namespace"
			kit.ExpectFailure(1, words, c.hint).Verify(t, "shell", kit.RunKdiag(t, "shell", "-n", namespace, "root"))
			kit.ExpectFailure(1, words, c.hint).Verify(t, "shell by name", kit.RunKdiag(t, "shell", "-n", namespace, "root", "--profile=restricted"))
			kit.ExpectFailure(1, words, c.hint).Verify(t, "ps", kit.RunKdiag(t, "ps", "-n", namespace, "root"))
			kit.ExpectFailure(1, words, "NET_ADMIN").Verify(t, "redir", kit.RunKdiag(t, "redir", "-n", namespace, "root", "8080:1"))
			checks, all := kit.RunDoctor(t, "-n", namespace, "root")
			kit.ExpectCheck("pod security: shell", "failed", words, c.hint).Verify(t, checks, all)
			kit.ExpectCheck("pod security: redir", "failed", words, "NET_ADMIN").Verify(t, checks, all)
			if made := kit.ListEphemeralContainers(t, namespace, "root"); len(made) != 0 {
				t.Errorf("containers: %q, want none", made)
			}
		})
	}
}

// TestPolicyConnect has a policy refuse port-forwards: that is no missing right,
// and who sets it is said.
func TestPolicyConnect(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	kit.ApplyClusterWide(t, fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: %[1]s}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], operations: [CONNECT], resources: [pods/exec, pods/portforward]}
  validations: [{expression: "false", message: no way in}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: %[1]s}
spec:
  policyName: %[1]s
  validationActions: [Deny]
  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}}
`, namespace))

	kit.WaitUntil(t, "the policy to hold", func() bool {
		checks, _ := kit.RunDoctor(t, "-n", namespace, "root")
		return checks["streams"].Status == "failed"
	})
	kit.ExpectFailure(1, "denied request: no way in", "an admission policy refused it").Verify(t, "redir", kit.RunKdiag(t, "redir", "-n", namespace, "root", "8080:1"))
	kit.ExpectFailure(1, "denied request: no way in", "").Verify(t, "shell", kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "true"))
	checks, all := kit.RunDoctor(t, "-n", namespace, "root")
	kit.ExpectCheck("streams", "failed", "denied request: no way in", "an admission policy refused it").Verify(t, checks, all)
}

// TestPolicyLastWord has the best profiles refused by Pod Security and the last
// one by a webhook: the webhook is in the way, whatever Pod Security says.
func TestPolicyLastWord(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	hook := kit.Webhook{Kind: "Validating", Answer: kit.DenyCapability("", &metav1.Status{Message: "no image from there"})}
	hook.Register(t, namespace)
	kit.ApplyManifest(t, namespace, kit.ReadManifest(t, "restricted.yaml"))
	kit.WaitForPods(t, namespace)
	kit.RunKubectl(t, "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
	kit.ExpectFailure(1, "no image from there", "an admission webhook refused it").Verify(t, "shell", kit.RunKdiag(t, "shell", "-n", namespace, "nonroot"))
}

// TestPolicyHintByName names the profiles that would be admitted.
func TestPolicyHintByName(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	hook := kit.Webhook{Kind: "Validating", Answer: kit.DenyCapability("SYS_PTRACE", &metav1.Status{Message: "no debuggers"})}
	hook.Register(t, namespace)
	kit.ExpectFailure(1, "denied the request: no debuggers", "admitted here: --profile=baseline, --profile=restricted (or auto)").Verify(t, "shell",
		kit.RunKdiag(t, "shell", "-n", namespace, "root", "--profile=chroot"))
}

// TestPolicyWebhookDown has a webhook that must be asked and does not answer:
// that is said at once, and it is not asked again for each profile.
func TestPolicyWebhookDown(t *testing.T) {
	t.Run("gone", func(t *testing.T) {
		t.Parallel()
		namespace := kit.CreateRootPod(t)
		hook := kit.Webhook{Kind: "Validating", Answer: kit.DenyCapability("SYS_PTRACE", nil)}
		stop := hook.Register(t, namespace)
		stop()
		for _, args := range [][]string{{"shell", "root"}, {"redir", "root", "8080:1"}} {
			kit.ExpectFailure(1, "failed calling webhook", "ask who runs it").Verify(t, args[0], kit.RunKdiag(t, append(args, "-n", namespace)...))
		}
		checks, all := kit.RunDoctor(t, "-n", namespace, "root")
		kit.ExpectCheck("pod security: shell", "unknown", "failed calling webhook", "ask who runs it").Verify(t, checks, all)
	})

	t.Run("silent", func(t *testing.T) {
		t.Parallel()
		namespace := kit.CreateRootPod(t)
		silent := make(chan struct{})
		hook := kit.Webhook{Kind: "Validating", Timeout: 1, Answer: kit.DenyCapability("SYS_PTRACE", nil)}
		hook.Register(t, namespace)
		t.Cleanup(func() { close(silent) })
		hook.SetAnswer(func(*corev1.EphemeralContainer) *admissionv1.AdmissionResponse { <-silent; return nil })
		kit.ExpectFailure(1, "failed calling webhook", "ask who runs it").Verify(t, "shell", kit.RunKdiag(t, "shell", "-n", namespace, "root"))
		if asked, _ := hook.CountRequests(); asked != 1 {
			t.Errorf("asked %d times, want 1", asked)
		}
	})
}

// TestPolicyMutating has a MutatingAdmissionPolicy that cannot be evaluated
// refuse, and one that holds change a container.
func TestPolicyMutating(t *testing.T) {
	const policy = `
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: %[1]s}
spec:
  reinvocationPolicy: Never
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], operations: [UPDATE], resources: [pods/ephemeralcontainers]}
  mutations:
  - patchType: JSONPatch
    jsonPatch: {expression: '%[2]s'}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: %[1]s}
spec:
  policyName: %[1]s
  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}}
`

	apply := func(t *testing.T, expression, says string) (namespace string) {
		namespace = kit.CreateRootPod(t)
		kit.ApplyClusterWide(t, fmt.Sprintf(policy, namespace, expression))
		kit.WaitUntil(t, "the policy to hold", func() bool {
			_, all := kit.RunDoctor(t, "-n", namespace, "root")
			return strings.Contains(all.Stdout, says)
		})
		return namespace
	}

	t.Run("fails", func(t *testing.T) {
		t.Parallel()
		namespace := apply(t, `[JSONPatch{op: "remove", path: "/spec/nowhere/at/all"}]`, saysPolicy)
		kit.ExpectFailure(1, namespace, "an admission policy refused it").Verify(t, "shell", kit.RunKdiag(t, "shell", "-n", namespace, "root"))
	})

	t.Run("changes", func(t *testing.T) {
		t.Parallel()
		namespace := apply(t, `[JSONPatch{op: "add", path: "/spec/ephemeralContainers/0/securityContext/runAsNonRoot", value: true}]`, "runAsNonRoot=true")
		got := kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "echo here")
		if got.Code != 0 || got.Stdout != "here\n" || !strings.Contains(got.Stderr, "changed the container of profile chroot: runAsNonRoot=true; trying profile baseline\n") {
			t.Errorf("shell: %v\nwant a shell of profile restricted, and why", got)
		}
	})
}

// saysPolicy stands in what a policy says that refuses.
const saysPolicy = "denied request"

// TestPolicyNotValid has the API server's own validation refuse: no policy is
// blamed for it.
func TestPolicyNotValid(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	for _, args := range [][]string{{"shell", "root"}, {"redir", "root", "8080:1"}} {
		got := kit.RunKdiag(t, append(args, "-n", namespace, "--image= with a space")...)
		kit.ExpectFailure(1, "is invalid: spec.ephemeralContainers[0].image", "--image REF").Verify(t, args[0], got)
		if strings.Contains(got.Stderr, "polic") || strings.Contains(got.Stderr, "webhook") {
			t.Errorf("%s: %s\nwant no policy blamed", args[0], got.Stderr)
		}
	}
}
