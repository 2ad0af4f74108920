package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kdiag/integration/kit"
	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// readyPods knows the pods of a selection that a Service would send calls to, as kube-proxy does.
type readyPods struct {
	mu        sync.Mutex
	addresses map[types.UID]string
}

// followReadyPods follows the ready pods of a selection until the test ends.
func followReadyPods(t *testing.T, namespace string, selection kube.Selection) *readyPods {
	t.Helper()
	r := &readyPods{addresses: map[types.UID]string{}}
	listed := make(chan struct{})
	go func() {
		_ = kit.ConnectCluster(t, namespace, nil).WatchPods(t.Context(), selection, kube.PodWatch{
			Changed: r.note, Gone: r.remove, Listed: func() { close(listed) }, Broken: func(error) {},
		})
	}()
	<-listed
	return r
}

func (r *readyPods) note(pod *corev1.Pod) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.addresses, pod.UID)
	if pod.DeletionTimestamp == nil && kube.IsReady(pod) {
		r.addresses[pod.UID] = pod.Status.PodIP
	}
}

func (r *readyPods) remove(uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.addresses, uid)
}

// list returns the addresses of the pods that are ready now.
func (r *readyPods) list() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Values(r.addresses))
}

// callAll calls the ready pods one after another until ctx ends, and returns how many calls the
// laptop and the application have answered, by address, and which were lost.
func (r *readyPods) callAll(ctx context.Context) (laptop, app map[string]int, lost []error) {
	laptop, app = map[string]int{}, map[string]int{}
	for i := 0; ctx.Err() == nil; i++ {
		pods := r.list()
		if len(pods) == 0 {
			time.Sleep(10 * time.Millisecond) // a Service without endpoints refuses
			continue
		}

		address := pods[i%len(pods)]
		answer, err := kit.FetchAnswer(kit.NodeNetwork, address+":8080")
		switch {
		case err != nil:
			lost = append(lost, fmt.Errorf("%s: %w", address, err))
		case strings.Contains(answer, kit.FromLaptop):
			laptop[address]++
		default:
			app[address]++
		}
	}

	return laptop, app, lost
}

// createRollout creates a namespace with the pods of rollout.yaml.
func createRollout(t *testing.T) (namespace string) {
	t.Helper()
	kit.RequireOwnCluster(t, "pods that can be called from this machine")
	return kit.CreatePods(t, "rollout.yaml")
}

// readWebPod returns the name and the address of the only pod of the deployment that stays.
func readWebPod(t *testing.T, namespace string) (name, address string) {
	t.Helper()
	kit.WaitUntil(t, "one ready pod", func() bool {
		var list corev1.PodList
		if err := json.Unmarshal([]byte(kit.RunKubectl(t, "get", "pods", "-n", namespace, "-l", "app=web", "-o", "json")), &list); err != nil {
			t.Fatal(err)
		}
		staying := slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil || !kube.IsReady(&p) })
		if len(staying) != 1 {
			return false
		}
		name, address = staying[0].Name, staying[0].Status.PodIP
		return true
	})
	return name, address
}

// TestRedirFollowsRollout rolls a deployment out while somebody calls its ready pods all the time: no
// call is lost, and the laptop has those to the new pod.
func TestRedirFollowsRollout(t *testing.T) {
	namespace := createRollout(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	old, oldAddress := readWebPod(t, namespace)
	redir := kit.StartRedirects(t, 1, "-n", namespace, "deploy/web", "8080:"+here.Port)

	pods := followReadyPods(t, namespace, kube.Selection{Kind: "deployments", Name: "web"})
	calling, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	var laptop, app map[string]int
	var lost []error
	go func() {
		defer close(done)
		laptop, app, lost = pods.callAll(calling)
	}()

	kit.RunKubectl(t, "rollout", "restart", "-n", namespace, "deploy/web")
	if gone := redir.WaitForEvent("gone"); gone.Pod != old || gone.Reason != "was deleted" || gone.Next == "" || gone.Next == old {
		t.Errorf("event %+v, want that %s was deleted, and its successor", gone, old)
	}
	if started := redir.WaitForEvent("redirect"); started.Pod == old {
		t.Errorf("event %+v, want another pod", started)
	}

	_, address := readWebPod(t, namespace)
	kit.WaitForAnswer(t, kit.NodeNetwork, address+":8080", kit.FromLaptop)
	kit.WaitUntil(t, "the old pod to end", func() bool {
		return !strings.Contains(kit.RunKubectl(t, "get", "pods", "-n", namespace, "-o", "name"), old)
	})
	stop()
	<-done
	t.Logf("calls that the laptop answered: %v, the application: %v, lost: %d", laptop, app, len(lost))
	if len(lost) > 0 {
		t.Errorf("%d calls were lost, the first: %v", len(lost), lost[0])
	}
	if laptop[oldAddress] == 0 || laptop[address] == 0 {
		t.Errorf("the laptop answered %v, want calls to %s and %s", laptop, oldAddress, address)
	}

	summary := redir.Interrupt()
	if summary.Code != 0 {
		t.Errorf("after Ctrl-C: %v, want exit code 0", summary)
	}
	if sum := redir.WaitForEvent("summary"); len(sum.Pods) != 2 || sum.Connections == 0 {
		t.Errorf("event %+v, want the sum over 2 pods", sum)
	}
}

// evict asks the API server to evict a pod.
func evict(t *testing.T, namespace, pod string) {
	t.Helper()
	eviction := fmt.Sprintf(`{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":%q,"namespace":%q}}`, pod, namespace)
	path := "/api/v1/namespaces/" + namespace + "/pods/" + pod + "/eviction"
	if out, err := kit.TryKubectl(t.Context(), eviction, "create", "--raw", path, "-f", "-"); err != nil {
		t.Fatalf("evict %s: %v: %s", pod, err, out)
	}
}

// readReadyTime reads since when a pod is ready, rounded down to a second.
func readReadyTime(t *testing.T, namespace, pod string) time.Time {
	t.Helper()
	text := kit.ReadPodField(t, namespace, pod, `{.status.conditions[?(@.type=="Ready")].lastTransitionTime}`)
	since, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return since
}

// TestRedirFollowsPods evicts and deletes the pod that is redirected, and takes away all pods for a
// while: each time the next pod is redirected as soon as it is ready.
func TestRedirFollowsPods(t *testing.T) {
	namespace := createRollout(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	pod, _ := readWebPod(t, namespace)
	redir := kit.StartRedirects(t, 1, "-n", namespace, "-l", "app=web", "8080:"+here.Port)

	for _, step := range []struct {
		reason string
		end    func(pod string)
	}{
		{"was evicted", func(pod string) { evict(t, namespace, pod) }},
		{"was deleted", func(pod string) { kit.RunKubectl(t, "delete", "pod", "-n", namespace, pod, "--wait=false") }},
		{"was deleted", func(pod string) {
			kit.RunKubectl(t, "delete", "pod", "-n", namespace, pod, "--force", "--grace-period=0")
		}},
		{"was deleted", func(string) {
			kit.RunKubectl(t, "scale", "-n", namespace, "deploy/web", "--replicas=0")
			kit.RunKubectl(t, "wait", "-n", namespace, "--for=delete", "pod", "-l", "app=web", "--timeout=60s")
			kit.RunKubectl(t, "scale", "-n", namespace, "deploy/web", "--replicas=1")
		}},
	} {
		began := time.Now()
		step.end(pod)
		if gone := redir.WaitForEvent("gone"); gone.Pod != pod || !strings.HasPrefix(gone.Reason, step.reason) {
			t.Errorf("event %+v, want that %s %s", gone, pod, step.reason)
		}
		started := redir.WaitForEvent("redirect")
		redirected := time.Now()
		if started.Pod == pod {
			t.Errorf("event %+v, want another pod than %s", started, pod)
		}
		pod = started.Pod
		kit.WaitForAnswer(t, kit.NodeNetwork, kit.ReadPodField(t, namespace, pod, "{.status.podIP}")+":8080", kit.FromLaptop)
		t.Logf("the pod %s: the next one was redirected after %s, at most %s after it was ready",
			step.reason, redirected.Sub(began).Round(time.Millisecond), redirected.Sub(readReadyTime(t, namespace, pod)).Round(100*time.Millisecond))
	}

	if got := redir.Interrupt(); got.Code != 0 {
		t.Errorf("after Ctrl-C: %v, want exit code 0", got)
	}
}

// TestRedirWaitsForPod has no pod to redirect any more: kdiag says what it waits for, until Ctrl-C.
func TestRedirWaitsForPod(t *testing.T) {
	namespace := createRollout(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	pod, _ := readWebPod(t, namespace)
	redir := kit.StartKdiag(t, "redir", "-n", namespace, "deploy/web", "8080:"+here.Port)
	redir.WaitForOutput("8080 → localhost:" + here.Port)

	kit.RunKubectl(t, "scale", "-n", namespace, "deploy/web", "--replicas=0")
	redir.WaitForOutput("pod " + namespace + "/" + pod + " was deleted; waiting for a ready pod of deployment/web")
	kit.RunKubectl(t, "wait", "-n", namespace, "--for=delete", "pod", "-l", "app=web", "--timeout=60s")
	if redir.HasEnded() {
		t.Errorf("kdiag has ended: %v", redir.WaitForEnd())
	}
	if got := redir.Interrupt(); got.Code != 0 || !strings.Contains(got.Stdout, "connections: 0 in ") {
		t.Errorf("after Ctrl-C: %v, want exit code 0 and the summary", got)
	}
}

// TestRedirEndsWithPod redirects one pod alone: kdiag says in one line how it went.
func TestRedirEndsWithPod(t *testing.T) {
	namespace := createRollout(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	web, _ := readWebPod(t, namespace)
	for _, c := range []struct {
		what, pod, reason string
		target            []string
		end               func(pod string)
	}{
		{"evicted", "quick", "was evicted (", []string{"quick"}, func(pod string) { evict(t, namespace, pod) }},
		{"deleted", web, "was deleted\n", []string{"deploy/web", "--follow=false"}, func(pod string) {
			kit.RunKubectl(t, "delete", "pod", "-n", namespace, pod, "--wait=false")
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			redir := kit.StartKdiag(t, append([]string{"redir", "-n", namespace, c.target[0], "8080:" + here.Port}, c.target[1:]...)...)
			redir.WaitForOutput("8080 → ")
			c.end(c.pod)
			got := redir.WaitForEnd()
			words := "kdiag: pod " + namespace + "/" + c.pod + " " + c.reason
			if lines := strings.Count(got.Stderr, "\n"); got.Code != 1 || !strings.HasPrefix(got.Stderr, words) || lines != 2 {
				t.Errorf("%v\nwant code 1, and a line %q with a hint", got, words)
			}
			if strings.Contains(got.Stdout, "lost the connection") {
				t.Errorf("%v\nwant one line only on what has happened", got)
			}
		})
	}
}

// TestRedirAllFollowsScale scales a deployment of which every replica is redirected.
func TestRedirAllFollowsScale(t *testing.T) {
	namespace := createRollout(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	readWebPod(t, namespace)
	redir := kit.StartRedirects(t, 1, "-n", namespace, "deploy/web", "8080:"+here.Port, "--all")
	pods := followReadyPods(t, namespace, kube.Selection{Kind: "deployments", Name: "web"})

	kit.RunKubectl(t, "scale", "-n", namespace, "deploy/web", "--replicas=3")
	seen := map[string]bool{}
	for range 2 {
		seen[redir.WaitForEvent("redirect").Pod] = true
	}
	if len(seen) != 2 {
		t.Errorf("redirected %v, want two more pods", seen)
	}
	for _, address := range pods.list() {
		kit.WaitForAnswer(t, kit.NodeNetwork, address+":8080", kit.FromLaptop)
	}

	kit.RunKubectl(t, "scale", "-n", namespace, "deploy/web", "--replicas=1")
	for range 2 {
		if gone := redir.WaitForEvent("gone"); gone.Reason != "was deleted" {
			t.Errorf("event %+v, want a pod that was deleted", gone)
		}
	}
	_, address := readWebPod(t, namespace)
	kit.VerifyAnswer(t, kit.NodeNetwork, address+":8080", kit.FromLaptop)

	if got := redir.Interrupt(); got.Code != 0 {
		t.Errorf("after Ctrl-C: %v, want exit code 0", got)
	}
	if sum := redir.WaitForEvent("summary"); len(sum.Pods) != 3 || sum.Connections < 4 {
		t.Errorf("event %+v, want the sum over 3 pods", sum)
	}
}

// TestRedirAllWithFailures has replicas that cannot be redirected: they are reported, the others are
// redirected, and those that can be later are.
func TestRedirAllWithFailures(t *testing.T) {
	namespace := createRollout(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	taken, takenAddress := readWebPod(t, namespace)
	other := kit.StartRedir(t, kit.CreateUser(t), "-n", namespace, taken, "8080:"+here.Port)
	other.WaitForEvent("redirect")

	kit.RunKubectl(t, "scale", "-n", namespace, "deploy/web", "--replicas=2")
	kit.RunKubectl(t, "rollout", "status", "-n", namespace, "deploy/web", "--timeout=60s")
	kit.ApplyManifest(t, namespace, "{apiVersion: v1, kind: Pod, metadata: {name: nowhere, labels: {app: web}}, spec: {nodeSelector: {none: such}, "+
		"containers: [{name: app, image: 'localhost/kdiag-sample:full', imagePullPolicy: Never}]}}")

	redir := kit.StartRedir(t, nil, "-n", namespace, "-l", "app=web", "8080:"+here.Port, "--all")
	reasons := map[string]string{}
	started := ""
	kit.WaitUntil(t, "two failures and a redirect", func() bool {
		select {
		case e := <-redir.Events:
			switch e.Event {
			case "failed":
				reasons[e.Pod] = e.Error
			case "redirect":
				started = e.Pod
			}
		default:
		}
		return len(reasons) == 2 && started != ""
	})
	if !strings.Contains(reasons[taken], "is already redirected by ") || !strings.Contains(reasons["nowhere"], "no node takes the pod") || started == taken {
		t.Errorf("failures %q and a redirect of %s, want a port that is taken and no node", reasons, started)
	}

	other.Interrupt()
	if e := redir.WaitForEvent("redirect"); e.Pod != taken {
		t.Errorf("event %+v, want %s once its port is free", e, taken)
	}
	kit.VerifyAnswer(t, kit.NodeNetwork, takenAddress+":8080", kit.FromLaptop)
	redir.Interrupt()
}

// deletePod deletes a pod and returns how long that took.
func deletePod(t *testing.T, namespace, pod string) time.Duration {
	t.Helper()
	began := time.Now()
	kit.RunKubectl(t, "delete", "pod", "-n", namespace, pod, "--timeout=90s")
	return time.Since(began)
}

// TestPodEndsWithApplication deletes a pod whose application ends at once: kdiag's containers do not
// keep it, although a redirect and a shell are in use.
func TestPodEndsWithApplication(t *testing.T) {
	namespace := createRollout(t)
	here := kit.StartLocalServer(t, kit.EchoBytes)
	without := deletePod(t, namespace, "quick")

	kit.AddPods(t, namespace, "{apiVersion: v1, kind: Pod, metadata: {name: quick}, spec: {containers: [{name: app, "+
		"image: 'localhost/kdiag-sample:full', imagePullPolicy: Never, args: [':8080', ':7000']}]}}")
	address := kit.ReadPodField(t, namespace, "quick", "{.status.podIP}")
	redir := kit.StartRedirects(t, 1, "-n", namespace, "quick", "7000:"+here.Port)
	shell := kit.StartKdiagWithStdin(t, "shell", "-n", namespace, "quick")
	shell.WriteStdin("echo in the shell\n")
	shell.WaitForOutput("in the shell")
	kit.OpenConnections(t, 3, address+":7000", "x")

	with := deletePod(t, namespace, "quick")
	t.Logf("the pod's deletion took %s without kdiag's containers and %s with them", without.Round(time.Millisecond), with.Round(time.Millisecond))
	const grace = 30 * time.Second
	if with > grace/2 {
		t.Errorf("the pod's deletion took %s with kdiag's containers, %s without", with, without)
	}
	redir.WaitForEnd()
	shell.CloseStdin()
}

// TestRedirAndShellWhilePodEnds deletes a pod whose application takes 20 s to end: until then its
// redirected connections go on, new ones come, and a shell stays usable.
func TestRedirAndShellWhilePodEnds(t *testing.T) {
	namespace := createRollout(t)
	here := kit.StartLocalServer(t, kit.EchoBytes)
	address := kit.ReadPodField(t, namespace, "slow", "{.status.podIP}")
	redir := kit.StartRedirects(t, 1, "-n", namespace, "slow", "7000:"+here.Port)
	shell := kit.StartKdiagWithStdin(t, "shell", "-n", namespace, "slow")
	shell.WriteStdin("echo in the shell\n")
	shell.WaitForOutput("in the shell")
	conns := kit.OpenConnections(t, 3, address+":7000", "x")

	ended := make(chan time.Duration, 1)
	go func() { ended <- deletePod(t, namespace, "slow") }()
	kit.WaitForPodField(t, namespace, "slow", "{.metadata.deletionTimestamp}", "T")
	began, rounds := time.Now(), 0
	for ; time.Since(began) < 18*time.Second; rounds++ {
		for _, conn := range conns {
			if err := kit.ExchangeText(conn, "x"); err != nil {
				t.Fatalf("a connection %s after the deletion began: %v", time.Since(began), err)
			}
		}
		kit.OpenConnections(t, 1, address+":7000", "new")
		shell.WriteStdin(fmt.Sprintf("echo round-$((%d))\n", rounds))
		shell.WaitForOutput(fmt.Sprintf("round-%d\n", rounds))
	}

	took := <-ended
	t.Logf("%d rounds; the pod's deletion took %s", rounds, took.Round(time.Millisecond))
	if got := redir.WaitForEnd(); got.Code != 1 || !strings.Contains(got.Stderr, "was deleted") {
		t.Errorf("redir after the pod's end: %v", got)
	}
	shell.CloseStdin()
}
