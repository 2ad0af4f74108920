package kube

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestDescribeShellEnd wants the end that ended a shell named with its reason, and none where both
// containers go on.
func TestDescribeShellEnd(t *testing.T) {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	exited := func(id string, code int32, reason string) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ContainerID: "containerd://" + id, ExitCode: code, Reason: reason}}
	}
	app := func(id string, state, last corev1.ContainerState) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: "app", ContainerID: "containerd://" + id, State: state, LastTerminationState: last}
	}
	none := corev1.ContainerState{}

	for _, c := range []struct {
		name        string
		app         corev1.ContainerStatus
		shell       corev1.ContainerState
		want        string
		wantCertain bool
	}{
		{"both run", app("a", running, none), running, "", false},
		{"a restart of before", app("a", running, exited("z", 1, "Error")), running, "", false},
		{"OOM, restarted", app("b", running, exited("a", 137, "OOMKilled")), running,
			"container app of pod ns/web has ended: it was killed for lack of memory (OOMKilled): exit code 137; it has been restarted", true},
		{"OOM, back-off", app("a", corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}, exited("a", 137, "OOMKilled")), running,
			"container app of pod ns/web has ended: it was killed for lack of memory (OOMKilled): exit code 137", true},
		{"ended", app("a", exited("a", 3, "Error"), none), exited("s", 137, "Error"), "container app of pod ns/web has ended: exit code 3", true},
		{"completed", app("a", exited("a", 0, "Completed"), none), running, "container app of pod ns/web has ended: Completed: exit code 0", true},
		{"restarted twice", app("c", running, exited("b", 1, "Error")), running,
			"container app of pod ns/web has ended: the reason is not known any more; it has been restarted", true},
		{"OOM of kdiag's", app("a", running, none), exited("s", 137, "OOMKilled"),
			"kdiag's container shell in pod ns/web has ended: it was killed for lack of memory (OOMKilled): exit code 137", true},
		{"end of kdiag's", app("a", running, none), exited("s", 137, "Error"), "kdiag's container shell in pod ns/web has ended: exit code 137", false},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web", UID: "1"}}
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{c.app}
		pod.Status.EphemeralContainerStatuses = []corev1.ContainerStatus{{Name: "shell", State: c.shell}}
		end := shellEnd{TargetContainer{Pod: pod, Container: "app", ID: "a"}, "shell"}
		if said, certain := end.describe(pod); said != c.want || certain != c.wantCertain {
			t.Errorf("%s: describe = %q, %t, want %q, %t", c.name, said, certain, c.want, c.wantCertain)
		}

		deleted := pod.DeepCopy()
		deleted.DeletionTimestamp = &metav1.Time{Time: time.Now()}
		if said, certain := end.describe(deleted); said != "pod ns/web was deleted" || !certain {
			t.Errorf("%s, deleted: describe = %q, %t", c.name, said, certain)
		}
		deleted.UID = "2"
		if said, _ := end.describe(deleted); said != "pod ns/web was deleted" {
			t.Errorf("%s, made again: describe = %q", c.name, said)
		}
	}
}
