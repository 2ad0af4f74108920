package kit

import (
	"regexp"
	"strings"
	"testing"
)

// wantsUserNamespaces tells whether a test is one of user namespaces, whose
// pods have a user namespace each. The cluster's runtime must have them: make
// integration-containerd2 runs these tests, make integration does not.
func wantsUserNamespaces(t *testing.T) bool {
	return strings.HasPrefix(t.Name(), "TestUserNamespace")
}

// gracePeriodLine stands once in the spec of each pod of testdata/manifests.
var gracePeriodLine = regexp.MustCompile(`(?m)^( *)terminationGracePeriodSeconds: 1$`)

// addUserNamespaces adds "hostUsers: false" to the pods of a manifest that may
// have it: those that do not share a namespace of the node.
func addUserNamespaces(manifest string) string {
	documents := strings.Split(manifest, "\n---\n")
	for i, document := range documents {
		if !strings.Contains(document, "hostPID: true") && !strings.Contains(document, "hostNetwork: true") {
			documents[i] = gracePeriodLine.ReplaceAllString(document, "$0\n${1}hostUsers: false")
		}
	}
	return strings.Join(documents, "\n---\n")
}
