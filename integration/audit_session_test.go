package integration

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"kdiag/integration/kit"
)

// TestAuditLog finds a session in the API server's own log: by the user agent
// and the reason, and the rest of it by the Audit-ID.
func TestAuditLog(t *testing.T) {
	kit.RequireOwnCluster(t, "the API server's audit log")
	namespace := kit.CreateRootPod(t)
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
		kit.WaitUntil(t, "the session's end in the audit log", func() bool {
			events := readAuditLog(t, kit.ClusterPath("log/audit.log"), namespace)
			completed, sessions := summarizeSession(events, quoted[i])
			ids = sessions
			return !slices.ContainsFunc(wanted[i], func(request string) bool { return !completed[request] })
		})

		if len(ids) != 1 || ids[""] {
			t.Errorf("the session with reason %q has the Audit-IDs %v, want one", reasons[i], ids)
		}
	}
}

// auditEvent carries a line of the API server's audit log.
type auditEvent struct {
	AuditID, Stage, Verb, UserAgent string
	ObjectRef                       struct{ Namespace, Name, Resource, Subresource string }
	ResponseStatus                  struct{ Code int }
}

// readAuditLog reads what the API server has recorded about a namespace.
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

// summarizeSession returns which requests of a session were completed, as "get
// pods/exec", and the Audit-IDs that they have. The user agent ends with what the
// session is for.
func summarizeSession(events []auditEvent, purpose string) (completed, ids map[string]bool) {
	completed, ids = map[string]bool{}, map[string]bool{}
	for _, event := range events {
		if !strings.HasPrefix(event.UserAgent, "kdiag/") || !strings.HasSuffix(event.UserAgent, ") "+purpose) {
			continue
		}

		ids[event.AuditID] = true
		request := event.Verb + " " + event.ObjectRef.Resource
		if event.ObjectRef.Subresource != "" {
			request += "/" + event.ObjectRef.Subresource
		}
		completed[request] = completed[request] || event.Stage == "ResponseComplete"
	}

	return completed, ids
}
