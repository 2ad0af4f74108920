package shell

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestOtherShell has the variables of the container, PATH too, as the first shell has.
func TestOtherShell(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p"}}
	const want = "kubectl exec -it -n n p -c app -- /.kdiag/kdiag enter --here --target-env=all"
	if got := otherShellCommand(pod, "app"); got != want {
		t.Errorf("otherShellCommand = %q, want %q", got, want)
	}
}
