package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// onePod is an API server that lets the user get one pod, and nothing more of pods.
type onePod struct {
	mu      sync.Mutex
	pod     *corev1.Pod // nil for none
	version int
	denied  int // requests to list or watch
}

// set replaces the pod.
func (s *onePod) set(uid string, state corev1.ContainerState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	s.pod = &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web", UID: types.UID(uid), ResourceVersion: fmt.Sprint(s.version)},
	}
	s.pod.Status.EphemeralContainerStatuses = []corev1.ContainerStatus{{Name: "kdiag", State: state}}
}

func (s *onePod) remove() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pod = nil
}

func (s *onePod) routes() http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /api/v1/namespaces/ns/pods", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.denied++
		answerStatus(w, http.StatusForbidden, metav1.StatusReasonForbidden)
	})
	routes.HandleFunc("GET /api/v1/namespaces/ns/pods/web", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.pod == nil {
			answerStatus(w, http.StatusNotFound, metav1.StatusReasonNotFound)
			return
		}
		text, _ := json.Marshal(s.pod)
		answerJSON(w, string(text))
	})
	return routes
}

func answerStatus(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	answerJSON(w, fmt.Sprintf(`{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": %q, "code": %d}`, reason, code))
}

// TestFollowPodByGetAlone follows a pod that the user may get, and neither list nor watch: its states,
// its end, and another pod of its name.
func TestFollowPodByGetAlone(t *testing.T) {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	for name, follow := range map[string]func(context.Context, *Cluster, PodWatch) error{
		"WatchPods": func(ctx context.Context, c *Cluster, w PodWatch) error {
			return c.WatchPods(ctx, Selection{Kind: "pods", Name: "web"}, w)
		},
		"WatchNamedPod": func(ctx context.Context, c *Cluster, w PodWatch) error {
			pod, err := getObject[corev1.Pod](ctx, c.pods("ns"), "web")
			if err == nil {
				w.Changed(pod)
				c.WatchNamedPod(ctx, pod, w)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := &onePod{}
			server.set("1", corev1.ContainerState{})
			cluster := connectTo(t, server.routes())
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()

			var told []string
			_ = follow(ctx, cluster, PodWatch{
				Listed: func() {},
				Changed: func(pod *corev1.Pod) {
					told = append(told, "changed "+pod.ResourceVersion)
					switch pod.ResourceVersion {
					case "1":
						server.set("1", running)
					case "2":
						server.set("2", running) // deleted and made again
					case "3":
						server.remove()
					}
				},
				Gone: func(uid types.UID) {
					told = append(told, "gone "+string(uid))
					if name == "WatchNamedPod" || uid == "2" {
						cancel()
					}
				},
				Broken: func(err error) { told = append(told, fmt.Sprint("broken ", err)) },
			})

			want := []string{"changed 1", "changed 2", "gone 1"}
			if name == "WatchPods" {
				want = append(want, "changed 3", "gone 2")
			}
			if !slices.Equal(told[:min(len(told), len(want))], want) || strings.Contains(fmt.Sprint(told), "broken") || server.denied == 0 {
				t.Errorf("told %q after %d refusals, want %q", told, server.denied, want)
			}
		})
	}
}

// TestStartByGetAlone waits for a container of a pod that the user may get, and neither list nor watch.
func TestStartByGetAlone(t *testing.T) {
	for name, test := range map[string]struct {
		state corev1.ContainerState
		uid   string
		want  string
	}{
		"starts":        {corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}, "1", ""},
		"fails":         {corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull"}}, "1", "ErrImagePull"},
		"is made again": {corev1.ContainerState{}, "2", "the pod was deleted"},
		"is gone":       {corev1.ContainerState{}, "", "the pod was deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			server := &onePod{}
			server.set("1", corev1.ContainerState{})
			cluster := connectTo(t, server.routes())
			ctx, cancel := WithTimeout(t.Context(), 20*time.Second)
			defer cancel()

			pod, err := getObject[corev1.Pod](ctx, cluster.pods("ns"), "web")
			if err != nil {
				t.Fatal(err)
			}

			if test.uid == "" {
				server.remove()
			} else {
				go func() { server.set(test.uid, test.state) }()
			}
			err = cluster.waitUntilRunning(ctx, containerRequest{}, pod, ownContainer{Injected: Injected{Name: "kdiag"}}, make(chan string))
			if line, _ := splitError(err); (err == nil) != (test.want == "") || !strings.Contains(line, test.want) {
				t.Errorf("waitUntilRunning = %v, want %q", err, test.want)
			}
		})
	}
}

// TestContainerEndedByGetAlone learns of an end by reading the pod.
func TestContainerEndedByGetAlone(t *testing.T) {
	server := &onePod{}
	server.set("1", corev1.ContainerState{Running: &corev1.ContainerStateRunning{}})
	cluster := connectTo(t, server.routes())
	time.AfterFunc(10*time.Millisecond, func() {
		server.set("1", corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}})
	})
	if !cluster.ContainerEnded(t.Context(), "ns", "web", "kdiag") {
		t.Error("ContainerEnded = false, want true")
	}
}
