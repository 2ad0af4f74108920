package integration

import (
	"bufio"
	"bytes"
	"encoding/json"
	"kdiag/integration/kit"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// auditEvent is what a line of the API server's audit log says of a request.
type auditEvent struct {
	AuditID, Stage, Verb, UserAgent string
	ObjectRef                       struct{ Namespace, Name, Resource, Subresource string }
	ResponseStatus                  struct{ Code int }
}

// readAuditLog reads what the project's own cluster has recorded about a
// namespace's pods.
func readAuditLog(t *testing.T, file, namespace string) []auditEvent {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}

	var events []auditEvent
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		// The last line may be half written.
		var event auditEvent
		if json.Unmarshal(lines.Bytes(), &event) == nil && event.ObjectRef.Namespace == namespace {
			events = append(events, event)
		}
	}

	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}

	return events
}

// TestAuditLog finds a session in the API server's own log: by the user agent
// and the reason, and the rest of it by the Audit-ID.
func TestAuditLog(t *testing.T) {
	file := filepath.Join(filepath.Dir(kit.KubeconfigPath()), "log", "audit.log")
	if _, err := os.Stat(file); err != nil {
		kit.RequireOwnCluster(t, "the audit log is at hand")
		t.Fatalf("the project's own cluster keeps an audit log: %v", err)
	}

	namespace := kit.CreateNamespace(t)
	kit.ApplyManifest(t, namespace, kit.ReadManifest(t, "rootpod.yaml"))
	kit.WaitForPods(t, namespace)
	reasons := []string{"INC-1: first", "INC-2: größer"}
	for _, reason := range reasons {
		if got := kit.RunKdiag(t, "shell", "-n", namespace, "root", "--reason", reason, "--", "-c", "true"); got.Code != 0 {
			t.Fatalf("shell: %v", got)
		}
	}

	quoted := []string{`shell reason="INC-1: first"`, `shell reason="INC-2: gr\u00f6\u00dfer"`}
	wanted := [][]string{{"get pods", "patch pods/ephemeralcontainers", "get pods/exec"}, {"get pods", "get pods/exec"}}
	for i := range reasons {
		var ids map[string]bool
		seen := map[string]bool{}
		kit.WaitUntil(t, "the session's end in the audit log", func() bool {
			ids = map[string]bool{}
			for _, event := range readAuditLog(t, file, namespace) {
				if strings.HasPrefix(event.UserAgent, "kdiag/") && strings.HasSuffix(event.UserAgent, ") "+quoted[i]) {
					ids[event.AuditID] = true
					what := event.Verb + " " + event.ObjectRef.Resource
					if event.ObjectRef.Subresource != "" {
						what += "/" + event.ObjectRef.Subresource
					}
					seen[what] = seen[what] || event.Stage == "ResponseComplete"
				}
			}

			for _, want := range wanted[i] {
				if !seen[want] {
					return false
				}
			}

			return true
		})

		if len(ids) != 1 || ids[""] {
			t.Errorf("the session with reason %q has the Audit-IDs %v, want one", reasons[i], ids)
		}
	}
}
