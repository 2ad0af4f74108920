package kube

import (
	"context"
	"encoding/json"
	"errors"
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

// ownersAPI is an API server whose namespace has targets, and pods that all have the same labels.
type ownersAPI struct {
	// between are the ReplicaSets and Jobs, as NAME KIND/OWNER; pods are pods, as NAME KIND/OWNER.
	between, pods []string
	// denied says that objects between may not be listed.
	denied bool

	mu     sync.Mutex
	asked  []string
	events chan string // more pods, as JSON of a watch
}

// controlledBy makes the metadata of an object and of its controller, of "NAME KIND/OWNER".
func controlledBy(line string) metav1.ObjectMeta {
	name, owner, owned := strings.Cut(line, " ")
	meta := metav1.ObjectMeta{Name: name, Namespace: "ns", UID: types.UID("uid-" + name), Labels: map[string]string{"app": "web"}}
	if !owned {
		return meta
	}

	kind, owner, _ := strings.Cut(owner, "/")
	group := "apps/v1"
	if strings.HasSuffix(kind, "Job") {
		group = "batch/v1"
	}
	if hash := owner[strings.LastIndex(owner, "-")+1:]; kind == "ReplicaSet" {
		meta.Labels["pod-template-hash"] = hash
	}
	yes := true
	meta.OwnerReferences = []metav1.OwnerReference{{APIVersion: group, Kind: kind, Name: owner, UID: types.UID("uid-" + owner), Controller: &yes}}
	return meta
}

func runningPod(line string) corev1.Pod {
	return corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: controlledBy(line),
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
}

func (a *ownersAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(r.URL.Path, "/")
	last := parts[len(parts)-1]
	a.mu.Lock()
	a.asked = append(a.asked, last)
	a.mu.Unlock()

	switch {
	case r.URL.Query().Get("watch") != "":
		a.serveWatch(w, r)
	case last == "pods":
		list := corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, ListMeta: metav1.ListMeta{ResourceVersion: "1"}}
		for _, line := range a.pods {
			list.Items = append(list.Items, runningPod(line))
		}
		a.answer(w, list)
	case (last == "replicasets" || last == "jobs") && a.denied:
		w.WriteHeader(http.StatusForbidden)
		a.answer(w, metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: 403, Reason: "Forbidden"})
	case last == "replicasets":
		a.answerBetween(w, "apps/v1", "ReplicaSetList")
	case last == "jobs":
		a.answerBetween(w, "batch/v1", "JobList")
	default:
		apiVersion := strings.TrimPrefix(strings.Join(parts[2:4], "/"), "v1/")
		if apiVersion == "namespaces" {
			apiVersion = "v1"
		}
		var selector any = map[string]any{"matchLabels": map[string]string{"app": "web"}}
		if apiVersion == "v1" { // a Service's has no expressions
			selector = map[string]string{"app": "web"}
		}
		a.answer(w, map[string]any{"apiVersion": apiVersion, "metadata": map[string]string{"name": last},
			"spec": map[string]any{"selector": selector}})
	}
}

func (a *ownersAPI) answer(w http.ResponseWriter, object any) {
	text, _ := json.Marshal(object)
	answerJSON(w, string(text))
}

func (a *ownersAPI) answerBetween(w http.ResponseWriter, group, kind string) {
	items := []map[string]any{}
	for _, line := range a.between {
		items = append(items, map[string]any{"metadata": controlledBy(line)})
	}
	a.answer(w, map[string]any{"apiVersion": group, "kind": kind, "items": items})
}

func (a *ownersAPI) serveWatch(w http.ResponseWriter, r *http.Request) {
	answerJSON(w, "")
	for {
		select {
		case event := <-a.events:
			answerJSON(w, event)
		case <-r.Context().Done():
			return
		}
	}
}

// count returns how often a path was asked for, by its last word.
func (a *ownersAPI) count(path string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, asked := range a.asked {
		if asked == path {
			n++
		}
	}
	return n
}

// TestTargetHasOwnPods takes the pods that a target owns, whatever other objects select.
func TestTargetHasOwnPods(t *testing.T) {
	pods := []string{
		"canary ReplicaSet/web-canary-777", "good ReplicaSet/web-555", "adopted ReplicaSet/strange",
		"alone", "set StatefulSet/web", "daemon DaemonSet/web", "one Job/web", "nightly Job/web-29",
		"manual Job/by-hand", "foreign Rollout/web", "later Job/web-later-29",
	}
	between := []string{
		"web-555 Deployment/web", "strange Deployment/web", "web-canary-777 Deployment/web-canary",
		"web CronJob/other", "web-29 CronJob/web", "by-hand CronJob/web", "web-later-29 CronJob/web-later",
	}

	for _, c := range []struct {
		target string
		denied bool
		want   string
	}{
		{"deploy/web", false, "good adopted"},
		{"deploy/web", true, "good"},
		{"deploy/web-canary", false, "canary"},
		{"deploy/web-canary", true, "canary"},
		{"rs/web-555", false, "good"},
		{"sts/web", false, "set"},
		{"ds/web", false, "daemon"},
		{"job/web", false, "one"},
		{"cj/web", false, "nightly manual"},
		{"cj/web", true, "nightly"},
		{"svc/web", false, "canary good adopted alone set daemon one nightly manual foreign later"},
	} {
		api := &ownersAPI{pods: pods, between: between, denied: c.denied}
		cluster := connectTo(t, api)
		selection, err := ParseSelection(c.target, "")
		if err != nil {
			t.Fatal(err)
		}
		found, err := cluster.findTargetPods(t.Context(), selection)
		if err != nil {
			t.Fatal(err)
		}

		got, others, err := cluster.listTargetPods(t.Context(), found)
		names := make([]string, len(got))
		for i := range got {
			names[i] = got[i].Name
		}
		if err != nil || strings.Join(names, " ") != c.want || others != len(pods)-len(got) {
			t.Errorf("pods of %s (denied: %t) = %q and %d others, %v, want %q", c.target, c.denied, names, others, err, c.want)
		}
	}
}

// TestOnlyOthersHavePods says why a target has no pod although its selector matches some.
func TestOnlyOthersHavePods(t *testing.T) {
	cluster := connectTo(t, &ownersAPI{pods: []string{"a ReplicaSet/canary-7", "b ReplicaSet/canary-7"}, between: []string{"canary-7 Deployment/canary"}})

	_, err := cluster.FindPod(t.Context(), Selection{Kind: "deployments", Name: "web"})
	if want := `no pods of its own (pods with the same labels that it does not own: 2) in namespace "ns"`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("FindPod = %v, want %q", err, want)
	}
}

// TestWatchHasOwnPods follows a rollout beside another Deployment's: a new ReplicaSet is looked up
// once, and a pod that its owner gives up is gone.
func TestWatchHasOwnPods(t *testing.T) {
	api := &ownersAPI{
		pods:    []string{"canary ReplicaSet/canary-7", "old ReplicaSet/web-1"},
		between: []string{"canary-7 Deployment/canary", "web-1 Deployment/web", "strange Deployment/web"},
		events:  make(chan string),
	}
	cluster := connectTo(t, api)
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Second, errors.New("late"))
	defer cancel()

	var got []string
	told := make(chan struct{}, 16)
	note := func(format string, args ...any) {
		got = append(got, fmt.Sprintf(format, args...))
		told <- struct{}{}
	}
	go func() {
		for _, line := range []string{"canary ReplicaSet/canary-7", "new ReplicaSet/strange", "more ReplicaSet/gone-9", "more ReplicaSet/gone-9", "old"} {
			text, _ := json.Marshal(map[string]any{"type": "MODIFIED", "object": runningPod(line)})
			api.events <- string(text)
		}
	}()
	go func() {
		defer cancel()
		for range 4 {
			select {
			case <-told:
			case <-ctx.Done():
			}
		}
	}()

	err := cluster.WatchPods(ctx, Selection{Kind: "deployments", Name: "web"}, PodWatch{
		Changed: func(pod *corev1.Pod) { note("changed %s", pod.Name) },
		Gone:    func(uid types.UID) { note("gone %s", uid) },
		Listed:  func() { note("listed") },
		Broken:  func(err error) { t.Errorf("the watch broke: %v", err) },
	})

	if want := []string{"changed old", "listed", "changed new", "gone uid-old"}; !slices.Equal(got, want) || !errors.Is(err, context.Canceled) {
		t.Errorf("the watch told %q, %v, want %q", got, err, want)
	}
	if n := api.count("replicasets"); n > 3 {
		t.Errorf("ReplicaSets were listed %d times, want once, and once for each new one", n)
	}
}
