package integration

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// webhook is an admission webhook that answers here: the API server asks it
// about every ephemeral container that comes into one namespace.
type webhook struct {
	// kind is "Validating" or "Mutating", timeout the seconds that it is given.
	kind    string
	timeout int
	// answer reviews an ephemeral container that comes into a pod, and may change
	// it. A nil answer lets it in.
	answer func(*corev1.EphemeralContainer) *admissionv1.AdmissionResponse

	mu   sync.Mutex
	real int // requests that were no dry run
	dry  int
}

func (w *webhook) asked() (made, dry int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.real, w.dry
}

// count counts a request, and returns the function to answer it with.
func (w *webhook) count(dry bool) func(*corev1.EphemeralContainer) *admissionv1.AdmissionResponse {
	w.mu.Lock()
	defer w.mu.Unlock()
	if dry {
		w.dry++
	} else {
		w.real++
	}
	return w.answer
}

func (w *webhook) ServeHTTP(out http.ResponseWriter, in *http.Request) {
	var review admissionv1.AdmissionReview
	err := json.NewDecoder(in.Body).Decode(&review)
	var index int
	var container *corev1.EphemeralContainer
	if err == nil {
		index, container, err = newContainer(review.Request)
	}

	if err != nil {
		http.Error(out, err.Error(), http.StatusBadRequest)
		return
	}

	before := container.DeepCopy()
	answer := w.count(*review.Request.DryRun)(container)
	if answer == nil {
		answer = &admissionv1.AdmissionResponse{Allowed: true}
	}

	if patch := replaced(index, before, container); patch != nil && answer.Allowed {
		kind := admissionv1.PatchTypeJSONPatch
		answer.Patch, answer.PatchType = patch, &kind
	}

	answer.UID = review.Request.UID
	review.Request, review.Response = nil, answer
	_ = json.NewEncoder(out).Encode(review)
}

// newContainer finds the ephemeral container that an update adds to its pod.
// It is not the last one: a merge patch puts it before those that are there.
func newContainer(request *admissionv1.AdmissionRequest) (int, *corev1.EphemeralContainer, error) {
	var was, is corev1.Pod
	for raw, pod := range map[*runtime.RawExtension]*corev1.Pod{&request.OldObject: &was, &request.Object: &is} {
		if err := json.Unmarshal(raw.Raw, pod); err != nil {
			return 0, nil, err
		}
	}

	for i := range is.Spec.EphemeralContainers {
		container := &is.Spec.EphemeralContainers[i]
		known := func(c corev1.EphemeralContainer) bool { return c.Name == container.Name }
		if !slices.ContainsFunc(was.Spec.EphemeralContainers, known) {
			return i, container, nil
		}
	}

	return 0, nil, errors.New("no new ephemeral container")
}

// replaced is the JSON patch that puts a changed container into its pod; nil
// where nothing was changed. One without a name is taken out.
func replaced(index int, before, after *corev1.EphemeralContainer) []byte {
	was, _ := json.Marshal(before)
	is, _ := json.Marshal(after)
	switch {
	case slices.Equal(was, is):
		return nil
	case after.Name == "":
		return fmt.Appendf(nil, `[{"op": "remove", "path": "/spec/ephemeralContainers/%d"}]`, index)
	}
	return fmt.Appendf(nil, `[{"op": "replace", "path": "/spec/ephemeralContainers/%d", "value": %s}]`, index, is)
}

// start has the API server ask the webhook about a namespace, by its name, and
// waits until it does, for the pod "root" in it. The API server must be on this
// machine, as that of "make cluster" is. It returns the function that
// stops the server alone, so that the API server asks in vain.
func (w *webhook) start(t *testing.T, namespace string) (stop func()) {
	t.Helper()
	if at := net.ParseIP(server(t).Hostname()); at == nil || !at.IsLoopback() {
		if os.Getenv("CI") != "" || os.Getenv("KDIAG_TEST_ALL") == "1" {
			t.Fatal("an API server on this machine is needed, which can ask a webhook here")
		}
		t.Skip("the API server is not on this machine, so it cannot ask a webhook here")
	}

	server := httptest.NewTLSServer(w)
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	text := fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: %[1]sWebhookConfiguration
metadata: {name: %[2]s}
webhooks:
- name: %[2]s.kdiag.test
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  timeoutSeconds: %[3]d
  clientConfig: {url: "%[4]s/", caBundle: %[5]s}
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[2]s}}
  rules:
  - {apiGroups: [""], apiVersions: [v1], operations: [UPDATE], resources: [pods/ephemeralcontainers]}
`, w.kind, namespace, cmp.Or(w.timeout, 10), server.URL, base64.StdEncoding.EncodeToString(ca))

	applyAll(t, text)
	eventually(t, "the API server to ask the webhook", func() bool {
		_, _ = doctor(t, "-n", namespace, "root")
		_, dry := w.asked()
		return dry > 0
	})

	return server.Close
}

// applyAll applies what is in no namespace; it goes with the test.
func applyAll(t *testing.T, text string) {
	t.Helper()
	apply(t, "default", text)
	// The test's own context is done by then.
	ctx := context.WithoutCancel(t.Context())
	t.Cleanup(func() { _, _ = shared.kubectl(ctx, text, "delete", "--ignore-not-found", "-f", "-") })
}

// denies answers with a status to every container that adds a capability; to
// any at all where the capability is empty.
func denies(capability corev1.Capability, status *metav1.Status) func(*corev1.EphemeralContainer) *admissionv1.AdmissionResponse {
	return func(c *corev1.EphemeralContainer) *admissionv1.AdmissionResponse {
		if capability != "" && !slices.Contains(addedBy(c), capability) {
			return nil
		}
		return &admissionv1.AdmissionResponse{Result: status}
	}
}

func addedBy(c *corev1.EphemeralContainer) []corev1.Capability {
	if c.SecurityContext == nil || c.SecurityContext.Capabilities == nil {
		return nil
	}
	return c.SecurityContext.Capabilities.Add
}

// rooted is a namespace with the pod "root".
func rooted(t *testing.T) (namespace string) {
	t.Helper()
	namespace = newNamespace(t)
	apply(t, namespace, manifest(t, "rootpod.yaml"))
	waitForPods(t, namespace)
	return namespace
}

// containersOf lists the ephemeral containers of a pod, by name.
func containersOf(t *testing.T, namespace, pod string) []string {
	t.Helper()
	return strings.Fields(kubectl(t, "get", "pod", "-n", namespace, pod, "-o", "jsonpath={.spec.ephemeralContainers[*].name}"))
}
