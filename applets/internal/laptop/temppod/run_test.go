package temppod

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kdiag/applets/internal/laptop/containers"
	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// podAPI is a cluster that notes what happens to one pod.
type podAPI struct {
	API
	log []string
	// creates and starts are called then, and may end the test's context.
	creates, starts func(ctx context.Context) error
	deletes         []error // of the attempts; nil afterwards
}

func (a *podAPI) CreatePod(ctx context.Context, pod *corev1.Pod) (*corev1.Pod, error) {
	a.log = append(a.log, "create")
	if a.creates != nil {
		if err := a.creates(ctx); err != nil {
			return nil, err
		}
	}
	made := pod.DeepCopy()
	made.UID = "uid"
	return made, nil
}

func (a *podAPI) AwaitPodStart(ctx context.Context, pod *corev1.Pod, _ kube.PodStart) (*corev1.Pod, error) {
	a.log = append(a.log, "await")
	if a.starts != nil {
		return pod, a.starts(ctx)
	}
	return pod, nil
}

func (a *podAPI) DeletePod(ctx context.Context, _, name string, uid types.UID) error {
	a.log = append(a.log, strings.TrimSpace("delete "+name+" "+string(uid)))
	if len(a.deletes) > 0 {
		err := a.deletes[0]
		a.deletes = a.deletes[1:]
		return err
	}
	return ctx.Err()
}

func (a *podAPI) Exec(_ context.Context, e kube.ExecRequest) error {
	a.log = append(a.log, "exec "+strings.Join(e.Command, " "))
	return nil
}

func (a *podAPI) Add(name string, e containers.Ending) {
	if e.DeletesPod {
		a.log = append(a.log, "watch "+name)
	}
}

func (a *podAPI) Remove(name string) { a.log = append(a.log, "forget "+name) }

// TestLifecycle deletes the pod however it ends, and never before the guard knows of it.
func TestLifecycle(t *testing.T) {
	broken, refused := errors.New("broken"), &kube.DeniedError{}
	for _, c := range []struct {
		name  string
		api   podAPI
		keep  bool
		end   []string
		use   error
		cut   string // when Ctrl-C comes
		log   string
		words string
	}{
		{name: "well", log: "watch p|create|await|use|delete p uid|forget p"},
		{name: "use fails", use: broken, log: "watch p|create|await|use|delete p uid|forget p"},
		{name: "kept", keep: true, log: "create|await|use", words: "kubectl delete pod -n n p"},
		{name: "not made", api: podAPI{creates: func(context.Context) error { return broken }}, log: "watch p|create|delete p|forget p"},
		{name: "does not start", api: podAPI{starts: func(context.Context) error { return broken }}, log: "watch p|create|await|delete p uid|forget p"},
		{name: "Ctrl-C before", cut: "before", log: ""},
		{name: "Ctrl-C while it is made", cut: "create", log: "watch p|create|await|delete p uid|forget p"},
		{name: "Ctrl-C while it starts", cut: "await", log: "watch p|create|await|delete p uid|forget p"},
		{name: "deleted at the second try", api: podAPI{deletes: []error{broken}}, log: "watch p|create|await|use|delete p uid|delete p uid|forget p"},
		{name: "no right to delete", api: podAPI{deletes: []error{refused}}, end: []string{"end"},
			log: "watch p|create|await|use|delete p uid|exec end|forget p", words: "you lack the right to delete pods"},
		{name: "no way to end", api: podAPI{deletes: []error{refused}},
			log: "watch p|create|await|use|delete p uid|forget p", words: "ends at its deadline"},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cut := context.WithCancel(t.Context())
			defer cut()
			switch c.cut {
			case "before":
				cut()
			case "create":
				c.api.creates = func(creating context.Context) error { cut(); return creating.Err() }
				c.api.starts = func(ctx context.Context) error { return ctx.Err() }
			case "await":
				c.api.starts = func(ctx context.Context) error { cut(); <-ctx.Done(); return ctx.Err() }
			}

			var said strings.Builder
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p"}}
			l := Lifecycle{API: &c.api, Watcher: &c.api, Keep: c.keep, End: c.end, Timeout: time.Minute,
				Messages: containers.Messages{Notice: func(text string) { said.WriteString(text) }}}
			err := l.Run(ctx, pod, "app", func(context.Context, *corev1.Pod) error {
				c.api.log = append(c.api.log, "use")
				return c.use
			})

			if got := strings.Join(c.api.log, "|"); got != c.log || !strings.Contains(said.String(), c.words) || c.words == "" && said.Len() > 0 {
				t.Errorf("%s: %s, said %q, %v, want %s and %q", c.name, got, said.String(), err, c.log, c.words)
			}
			wellDone := slices.Contains([]string{"well", "kept", "deleted at the second try", "no right to delete", "no way to end"}, c.name)
			if (err == nil) != wellDone {
				t.Errorf("%s: %v", c.name, err)
			}
		})
	}
}

// TestDiscardedPod does not keep a pod that another one is made instead of, and keeps any other that did not start.
func TestDiscardedPod(t *testing.T) {
	broken := errors.New("broken")
	for discards, want := range map[bool]string{true: "create|await|delete p uid", false: "create|await"} {
		api := podAPI{starts: func(context.Context) error { return broken }}
		l := Lifecycle{API: &api, Watcher: &api, Keep: true, Timeout: time.Minute, Messages: containers.Messages{Notice: func(string) {}},
			Discards: func(err error) bool { return discards && errors.Is(err, broken) }}
		err := l.Run(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p"}}, "app", nil)
		if got := strings.Join(api.log, "|"); got != want || !errors.Is(err, broken) {
			t.Errorf("discards %t: %s, %v, want %s", discards, got, err, want)
		}
	}
}

// TestAdmittedPod says what admission has added to a pod, and which containers go on when one is ended.
func TestAdmittedPod(t *testing.T) {
	asked := buildCopy(meshPod(), "app", nil)
	if said := describeAdmitted(asked, asked.DeepCopy()); said != nil {
		t.Errorf("of an unchanged pod: %q", said)
	}
	if said := describeEnded(asked, "app", "kubectl"); !strings.Contains(said, "pod copy has been ended") {
		t.Error(said)
	}

	made := asked.DeepCopy()
	made.Labels = map[string]string{"app": "web", "a": "b"}
	made.OwnerReferences = []metav1.OwnerReference{{Kind: "Job", Name: "j"}}
	made.Spec.InitContainers = append(made.Spec.InitContainers, corev1.Container{Name: "mesh-init"})
	made.Spec.Containers = append(made.Spec.Containers, corev1.Container{Name: "mesh"})
	said := strings.Join(describeAdmitted(asked, made), "\n")
	for _, want := range []string{"may find it: a=b, app=web", "Job j", "mesh, mesh-init"} {
		if !strings.Contains(said, want) {
			t.Errorf("said %q, want %q", said, want)
		}
	}
	if said := describeEnded(made, "app", "kubectl"); !strings.Contains(said, "container app of pod copy has been ended, but mesh may run until") {
		t.Error(said)
	}
}
