package guard

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kdiag/applets/internal/laptop/containers"
	"kdiag/kube"

	"k8s.io/apimachinery/pkg/types"
)

// fakeForwarder notes what it is to connect to, and refuses it.
type fakeForwarder struct {
	mu    sync.Mutex
	asked []string
}

// DeletePod notes which pod is deleted.
func (f *fakeForwarder) DeletePod(_ context.Context, namespace, pod string, _ types.UID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, "delete "+namespace+"/"+pod)
	return nil
}

var errRefused = errors.New("refused")

func (f *fakeForwarder) PortForward(_ context.Context, namespace, pod string, _ uint16, _ time.Duration) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, namespace+"/"+pod)
	return nil, errRefused
}

// watch runs Watch with messages before the end of its input.
func watch(t *testing.T, messages ...message) (asked []string, options kube.ConnectOptions, err error) {
	t.Helper()
	var text strings.Builder
	for _, m := range messages {
		if err := json.NewEncoder(&text).Encode(m); err != nil {
			t.Fatal(err)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	api := &fakeForwarder{}
	err = Watch(ctx, strings.NewReader(text.String()), func(o kube.ConnectOptions) (containers.Forwarder, error) {
		options = o
		cancel() // one attempt each will do
		return api, nil
	})
	slices.Sort(api.asked)
	return api.asked, options, err
}

func endingIn(pod string) *containers.Ending { return &containers.Ending{Namespace: "n", Pod: pod} }

// TestWatch ends what was not said to have ended, unless the last word came.
func TestWatch(t *testing.T) {
	connect := message{Connect: &kube.ConnectOptions{Context: "c"}}
	add := func(name, pod string) message { return message{Name: name, Ending: endingIn(pod)} }
	asked, options, err := watch(t, connect, add("a", "old"), add("b", "gone"), add("a", "new"), message{Name: "b"}, add("c", "other"))
	if want := []string{"n/new", "n/other"}; !slices.Equal(asked, want) || options.Context != "c" || !errors.Is(err, errRefused) {
		t.Errorf("a killed kdiag: sessions of %v are ended by %+v, %v, want %v", asked, options, err, want)
	}

	for name, messages := range map[string][]message{
		"with a last word": {connect, add("a", "x"), {Done: true}}, "without a session": {connect, add("a", "x"), {Name: "a"}}, "at once": nil,
	} {
		if asked, _, err := watch(t, messages...); len(asked) != 0 || err != nil {
			t.Errorf("ended %s: sessions of %v are ended, %v, want none", name, asked, err)
		}
	}
}

// TestStoppedGuard does not wait for a process that reads nothing.
func TestStoppedGuard(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()

	g := New(kube.ConnectOptions{})
	g.begin(writer)
	for range 2000 { // more than a pipe holds (pipe(7))
		g.Add("a", *endingIn("p"))
	}
	if !g.failed {
		t.Error("all was written to a pipe that nobody reads")
	}
	g.Close()
}

// TestGuard writes to its process what that needs, and ends it.
func TestGuard(t *testing.T) {
	var none *Guard
	none.Add("a", *endingIn("p"))
	none.Remove("a")
	none.Close()

	g := New(kube.ConnectOptions{Context: "c"})
	reader, writer := io.Pipe()
	got := make(chan string, 1)
	go func() { text, _ := io.ReadAll(reader); got <- string(text) }()
	g.begin(writer)
	g.Add("a", *endingIn("p"))
	g.Remove("a")
	g.Close()
	g.Add("b", *endingIn("q"))
	_ = writer.Close()

	lines := strings.Split(strings.TrimSpace(<-got), "\n")
	if len(lines) != 4 || !strings.Contains(lines[0], `"Context":"c"`) || !strings.Contains(lines[1], `"Pod":"p"`) || lines[3] != `{"Done":true}` {
		t.Errorf("written %q, want how to connect, a session, its end, and the last word", lines)
	}
}

// TestWatchDeletesPods deletes the pod that a killed kdiag has made for a shell, but not one that it has
// deleted itself.
func TestWatchDeletesPods(t *testing.T) {
	pod := func(name string) message {
		return message{Name: name, Ending: &containers.Ending{Namespace: "n", Pod: name, DeletesPod: true}}
	}
	asked, _, err := watch(t, message{Connect: &kube.ConnectOptions{}}, pod("a"), pod("b"), message{Name: "a"})
	if want := []string{"delete n/b"}; !slices.Equal(asked, want) || err != nil {
		t.Errorf("a killed kdiag: %q, %v, want %q", asked, err, want)
	}
}
