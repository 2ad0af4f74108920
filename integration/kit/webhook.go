package kit

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"kdiag/integration/testenv"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Review answers a request to add an ephemeral container, which it may change. A
// nil answer admits the container.
type Review func(*corev1.EphemeralContainer) *admissionv1.AdmissionResponse

// Webhook carries an admission webhook that answers here: the API server asks it
// about every ephemeral container that comes into one namespace.
type Webhook struct {
	Kind    string // "Validating" or "Mutating"
	Timeout int    // the seconds that the API server waits, if not ten
	Answer  Review

	mu   sync.Mutex
	made int // requests to add a container
	dry  int // dry runs
}

// Register has the API server ask the webhook about a namespace, and waits until
// it does, for the pod "root" in it. The API server must be on this machine, as
// that of "make cluster" is. Register returns a function that stops the webhook
// and leaves it registered, so that the API server asks in vain.
func (w *Webhook) Register(t *testing.T, namespace string) (stop func()) {
	t.Helper()
	requireLocalServer(t)
	server := httptest.NewTLSServer(w)
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	ApplyClusterWide(t, fmt.Sprintf(`
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
`, w.Kind, namespace, cmp.Or(w.Timeout, 10), server.URL, base64.StdEncoding.EncodeToString(ca)))

	WaitUntil(t, "the API server to ask the webhook", func() bool {
		RunDoctor(t, "-n", namespace, "root")
		_, dry := w.CountRequests()
		return dry > 0
	})

	return server.Close
}

// requireLocalServer skips a test whose API server cannot ask a webhook here.
func requireLocalServer(t *testing.T) {
	t.Helper()
	if ip := net.ParseIP(ReadServerURL(t).Hostname()); ip != nil && ip.IsLoopback() {
		return
	}
	testenv.Missing(t, "the API server is not on this machine, so it cannot ask a webhook here")
}

// SetAnswer changes how the webhook answers, and sets its counts to zero.
func (w *Webhook) SetAnswer(answer Review) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.Answer, w.made, w.dry = answer, 0, 0
}

// CountRequests counts the requests to add a container, and the dry runs.
func (w *Webhook) CountRequests() (made, dry int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.made, w.dry
}

// countRequest counts a request, and returns the function to answer it with.
func (w *Webhook) countRequest(dry bool) Review {
	w.mu.Lock()
	defer w.mu.Unlock()
	if dry {
		w.dry++
	} else {
		w.made++
	}
	return w.Answer
}

// ServeHTTP answers a review of the API server.
func (w *Webhook) ServeHTTP(out http.ResponseWriter, in *http.Request) {
	var review admissionv1.AdmissionReview
	err := json.NewDecoder(in.Body).Decode(&review)
	var index int
	var container *corev1.EphemeralContainer
	if err == nil {
		index, container, err = findNewContainer(review.Request)
	}

	if err != nil {
		http.Error(out, err.Error(), http.StatusBadRequest)
		return
	}

	before := container.DeepCopy()
	answer := w.countRequest(*review.Request.DryRun)(container)
	if answer == nil {
		answer = &admissionv1.AdmissionResponse{Allowed: true}
	}

	if patch := writePatch(index, before, container); patch != nil && answer.Allowed {
		kind := admissionv1.PatchTypeJSONPatch
		answer.Patch, answer.PatchType = patch, &kind
	}

	answer.UID = review.Request.UID
	review.Request, review.Response = nil, answer
	_ = json.NewEncoder(out).Encode(review)
}

// findNewContainer finds the ephemeral container that an update adds to its pod.
// It is not the last one: a merge patch puts it before those that are there.
func findNewContainer(request *admissionv1.AdmissionRequest) (int, *corev1.EphemeralContainer, error) {
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

// writePatch returns the JSON patch that puts a changed container into its pod, or
// nil if nothing was changed. It takes a container without a name out.
func writePatch(index int, before, after *corev1.EphemeralContainer) []byte {
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

// DenyCapability returns the review that refuses, with a status, each container
// that adds a capability, or each one if the capability is empty.
func DenyCapability(capability corev1.Capability, status *metav1.Status) Review {
	return func(c *corev1.EphemeralContainer) *admissionv1.AdmissionResponse {
		if capability != "" && !slices.Contains(listAddedCapabilities(c), capability) {
			return nil
		}
		return &admissionv1.AdmissionResponse{Result: status}
	}
}

// ChangeContainer returns the review that changes every container.
func ChangeContainer(change func(*corev1.EphemeralContainer)) Review {
	return func(c *corev1.EphemeralContainer) *admissionv1.AdmissionResponse {
		change(c)
		return nil
	}
}

// listAddedCapabilities returns the capabilities that a container adds.
func listAddedCapabilities(c *corev1.EphemeralContainer) []corev1.Capability {
	if c.SecurityContext == nil || c.SecurityContext.Capabilities == nil {
		return nil
	}
	return c.SecurityContext.Capabilities.Add
}
