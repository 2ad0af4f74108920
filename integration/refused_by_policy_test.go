package integration

import (
	"fmt"
	"strings"
	"testing"

	"kdiag/integration/kit"

	corev1 "k8s.io/api/core/v1"
)

// TestPolicyReasons takes the next profile where a ValidatingAdmissionPolicy denies
// SYS_PTRACE, with each reason that one may give.
func TestPolicyReasons(t *testing.T) {
	for reason, actions := range map[string]string{
		"": "Deny", "Invalid": "Deny, Audit", "Forbidden": "Deny", "RequestEntityTooLarge": "Deny",
	} {
		t.Run("reason "+reason, func(t *testing.T) {
			t.Parallel()
			namespace := kit.CreateRootPod(t)
			validation := `{message: SYS_PTRACE is not for ephemeral containers, expression: "` +
				"object.spec.ephemeralContainers.all(c, !has(c.securityContext.capabilities.add) || " +
				`!c.securityContext.capabilities.add.exists(a, a == 'SYS_PTRACE'))"`
			if reason != "" {
				validation += ", reason: " + reason
			}
			createPolicy(t, namespace, "{apiGroups: [''], apiVersions: [v1], operations: [UPDATE], resources: [pods/ephemeralcontainers]}",
				"["+validation+"}]", actions)
			kit.WaitUntil(t, "the policy to hold", func() bool {
				return strings.Contains(kit.RunDoctor(t, "-n", namespace, "root").Stdout, "not for ephemeral containers")
			})

			got := kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "echo here")
			if got.Code != 0 || got.Stdout != "here\n" || !strings.Contains(got.Stderr, "profile baseline") || !strings.Contains(got.Stderr, "not for ephemeral containers") {
				t.Errorf("shell: %v\nwant a shell of profile baseline, and the policy's words", got)
			}
		})
	}
}

// TestPolicyConnect tells a policy that refuses port-forwards from a missing right,
// and says whom to ask.
func TestPolicyConnect(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	createPolicy(t, namespace, "{apiGroups: [''], apiVersions: [v1], operations: [CONNECT], resources: [pods/exec, pods/portforward]}",
		`[{expression: "false", message: no way in}]`, "Deny")
	kit.WaitUntil(t, "the policy to hold", func() bool {
		return kit.RunDoctor(t, "-n", namespace, "root").Checks["streams"].Status == "failed"
	})

	kit.ExpectFailure(1, "denied request: no way in", "an admission policy denied it").Verify(t, "redir", kit.RunKdiag(t, "redir", "-n", namespace, "root", "8080:1"))
	kit.ExpectFailure(1, "denied request: no way in", "").Verify(t, "shell", kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "true"))
	report := kit.RunDoctor(t, "-n", namespace, "root")
	report.Verify(t, "streams", "failed", "denied request: no way in", "an admission policy denied it")
}

// createPolicy creates a ValidatingAdmissionPolicy for a namespace, with what it
// matches and validates, and how it acts.
func createPolicy(t *testing.T, namespace, rule, validations, actions string) {
	t.Helper()
	kit.ApplyClusterWide(t, fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: %[1]s}
spec:
  matchConstraints:
    resourceRules:
    - %[2]s
  validations: %[3]s
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: %[1]s}
spec:
  policyName: %[1]s
  validationActions: [%[4]s]
  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}}
`, namespace, rule, validations, actions))
}

// TestPolicyMutating fails where a MutatingAdmissionPolicy cannot be evaluated, and takes
// the next profile where one changes the container.
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

	createMutatingPolicy := func(t *testing.T, expression, says string) (namespace string) {
		t.Helper()
		namespace = kit.CreateRootPod(t)
		kit.ApplyClusterWide(t, fmt.Sprintf(policy, namespace, expression))
		kit.WaitUntil(t, "the policy to hold", func() bool {
			return strings.Contains(kit.RunDoctor(t, "-n", namespace, "root").Stdout, says)
		})
		return namespace
	}

	t.Run("fails", func(t *testing.T) {
		t.Parallel()
		namespace := createMutatingPolicy(t, `[JSONPatch{op: "remove", path: "/spec/nowhere/at/all"}]`, policyRefused)
		kit.ExpectFailure(1, namespace, "an admission policy denied it").Verify(t, "shell", kit.RunKdiag(t, "shell", "-n", namespace, "root"))
	})

	t.Run("changes", func(t *testing.T) {
		t.Parallel()
		namespace := createMutatingPolicy(t, `[JSONPatch{op: "add", path: "/spec/ephemeralContainers/0/securityContext/runAsNonRoot", value: true}]`, "runAsNonRoot=true")
		got := kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "echo here")
		if got.Code != 0 || got.Stdout != "here\n" || !strings.Contains(got.Stderr, "changed the container of profile chroot: runAsNonRoot=true; trying profile baseline\n") {
			t.Errorf("shell: %v\nwant a shell of profile baseline, and why", got)
		}
	})
}

// policyRefused stands in what the API server says when a policy refuses.
const policyRefused = "denied request"

// TestPolicyNotValid blames no policy where the API server's own validation refuses. kdiag asks for
// nothing that is not valid, so a webhook makes it so.
func TestPolicyNotValid(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	webhook := kit.Webhook{Kind: "Mutating", Answer: kit.ChangeContainer(func(c *corev1.EphemeralContainer) { c.Image = " with a space" })}
	webhook.Register(t, namespace)
	for _, args := range [][]string{{"shell", "root"}, {"redir", "root", "8080:1"}} {
		got := kit.RunKdiag(t, append(args, "-n", namespace)...)
		kit.ExpectFailure(1, "is invalid: spec.ephemeralContainers[0].image", "--image REF").Verify(t, args[0], got)
		if strings.Contains(got.Stderr, "polic") || strings.Contains(got.Stderr, "webhook") {
			t.Errorf("%s: %s\nwant no policy blamed", args[0], got.Stderr)
		}
	}
}
