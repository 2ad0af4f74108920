package capture

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/testkit/fakecluster"
	"kdiag/kube"
	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// manyPods is a cluster with several pods, in each of which "kdiag packets" sends a packet now and
// then until it is told to stop.
type manyPods struct {
	fakecluster.Fake
	watch chan func(kube.PodWatch)
	// gone has the execs of a pod lose their connection, refused has a pod take no container.
	gone    map[string]chan struct{}
	refused string
	// slow is a pod whose container does not start; starting is closed when it is asked for.
	slow     string
	starting chan struct{}
	// silent is a pod whose exec does not open.
	silent string
	taken  wire.Snapshot
	// pace is what paces the packets; it is drained, so that there is no end of them.
	pace <-chan time.Time
	// burst is how many packets come at once at the beginning, after began is closed.
	burst int
	began chan struct{}
}

func newManyPods(t *testing.T) *manyPods {
	fakecluster.KeepHome(t)
	ticker := time.NewTicker(time.Millisecond)
	t.Cleanup(ticker.Stop)
	return &manyPods{watch: make(chan func(kube.PodWatch)), gone: map[string]chan struct{}{}, pace: ticker.C}
}

// onePod returns a pod that runs.
func onePod(name string) *corev1.Pod {
	pod, _ := (&fakecluster.Fake{}).FindPod(context.Background(), kube.Selection{})
	pod.Name, pod.UID, pod.Status.PodIP = name, types.UID(name), "10.0.0.1"
	return pod
}

func (m *manyPods) FindPod(_ context.Context, s kube.Selection) (*corev1.Pod, error) {
	return onePod(s.Name), nil
}

func (m *manyPods) ChoosePod(ctx context.Context, s kube.Selection) (*corev1.Pod, int, error) {
	pod, err := m.FindPod(ctx, s)
	return pod, 1, err
}

func (m *manyPods) EnsureCapture(ctx context.Context, r kube.CaptureRequest) (kube.Injected, error) {
	if r.Pod.Name == m.refused {
		return kube.Injected{}, errors.New("add a container: forbidden")
	}
	if r.Pod.Name == m.slow {
		if m.starting != nil {
			close(m.starting)
		}
		<-ctx.Done()
		return kube.Injected{}, context.Cause(ctx)
	}
	return m.Fake.EnsureCapture(ctx, r)
}

func (m *manyPods) WatchPods(ctx context.Context, _ kube.Selection, w kube.PodWatch) error {
	for {
		select {
		case change := <-m.watch:
			change(w)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (m *manyPods) ListPeers(context.Context) (kube.Peers, []string) {
	return kube.Peers{
		netip.MustParseAddr("10.0.0.9"):  {Kind: "pod", Namespace: "shop", Name: "caller"},
		netip.MustParseAddr("10.96.0.1"): {Kind: "service", Namespace: "shop", Name: "web"},
		netip.MustParseAddr("10.1.0.1"):  {Kind: "node", Name: "node-a"},
	}, nil
}

// callFrame is a SYN from 10.0.0.9:4000 to 10.0.0.1:80.
func callFrame() []byte {
	frame := slices.Concat(make([]byte, 12), []byte{8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 9, 10, 0, 0, 1})
	return append(frame, 0x0f, 0xa0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 1, 0, 0, 0, 0, 0)
}

// Exec is what runs in the pods.
func (m *manyPods) Exec(ctx context.Context, e kube.ExecRequest) error {
	if slices.Contains(e.Command, wire.AppletInspect) {
		text, _ := json.Marshal(m.taken)
		if _, err := e.Stdout.Write(append(text, '\n')); err != nil {
			return err
		}
		<-ctx.Done()
		return context.Cause(ctx)
	}

	if e.Pod == m.silent {
		<-ctx.Done()
		return context.Cause(ctx)
	}

	stopped := make(chan struct{})
	go func() {
		for lines := bufio.NewScanner(e.Stdin); lines.Scan(); {
			if lines.Text() == wire.StopPackets {
				close(stopped)
			}
		}
	}()
	return m.sendPackets(ctx, e, stopped)
}

// sendPackets sends packets until it is told to stop.
func (m *manyPods) sendPackets(ctx context.Context, e kube.ExecRequest, stopped <-chan struct{}) error {
	records, err := wire.AppendInterface(nil, wire.PacketInterface{Name: "eth0", LinkType: wire.LinkEthernet})
	if err != nil {
		return err
	}

	sent := uint64(m.burst)
	for range m.burst {
		records = appendCall(records)
	}
	if m.began != nil {
		close(m.began)
	}

	for {
		if _, err := e.Stdout.Write(records); err != nil {
			return err
		}

		select {
		case <-m.gone[e.Pod]:
			return errors.New("connection lost")
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-stopped:
			counts := wire.PacketStatistics{Time: time.Now(), Received: sent, Sent: sent}
			_, err := e.Stdout.Write(wire.AppendEnd(wire.AppendStatistics(nil, counts)))
			return err
		case <-m.pace:
			sent++
			records = appendCall(nil)
		}
	}
}

// appendCall appends the record of a callFrame.
func appendCall(records []byte) []byte {
	return wire.AppendPacket(records, wire.CapturedPacket{Time: time.Now(), Length: 54, Data: callFrame(), Incoming: true})
}

// safeText is output that can be read while it is written.
type safeText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *safeText) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *safeText) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// waitFor waits until there is a text in the output.
func (s *safeText) waitFor(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(s.String(), text); {
		if time.Now().After(deadline) {
			t.Fatalf("no %q in\n%.2000s", text, s.String())
		}
		time.Sleep(time.Millisecond)
	}
}

// waitForMore waits until a text is in the output once more.
func (s *safeText) waitForMore(t *testing.T, text string) {
	t.Helper()
	before := strings.Count(s.String(), text)
	for deadline := time.Now().Add(10 * time.Second); strings.Count(s.String(), text) <= before; {
		if time.Now().After(deadline) {
			t.Fatalf("%q does not come again", text)
		}
		time.Sleep(time.Millisecond)
	}
}

// running is a capture that runs.
type running struct {
	t          *testing.T
	out, notes *safeText
	cancel     context.CancelFunc
	done       chan error
}

// startCapture starts a capture of a deployment or of pod web-0.
func startCapture(t *testing.T, m *manyPods, o options) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{t: t, out: &safeText{}, notes: &safeText{}, cancel: cancel, done: make(chan error, 1)}
	r.start(ctx, m, o, r.out)

	return r
}

// start starts the capture with an output.
func (r *running) start(ctx context.Context, m *manyPods, o options, out io.Writer) {
	request := containers.Request{Pod: kube.Selection{Kind: "deployments", Name: "web"}, Timeout: time.Minute}
	if !o.all {
		request.Pod = kube.Selection{Kind: "pods", Name: "web-0"}
	}

	go func() {
		r.done <- o.captureTarget(ctx, m, request, applets.Streams{Out: out, Err: r.notes})
	}()
}

// stop ends the capture and returns its error.
func (r *running) stop() error {
	r.cancel()
	return r.wait()
}

// wait waits until the capture has ended by itself, and returns its error.
func (r *running) wait() error {
	select {
	case err := <-r.done:
		return err
	case <-time.After(10 * time.Second):
		r.t.Fatal("the capture did not end")
		return nil
	}
}

// TestSeveralPods captures from pods that come and go: what goes is told, and the rest goes on.
func TestSeveralPods(t *testing.T) {
	m := newManyPods(t)
	m.gone["web-1"] = make(chan struct{})
	r := startCapture(t, m, options{shown: shown{all: true}})

	m.watch <- func(w kube.PodWatch) { w.Changed(onePod("web-0")); w.Changed(onePod("web-1")); w.Listed() }
	r.out.waitFor(t, "web-0/eth0 In  IP 10.0.0.9.4000 > 10.0.0.1.80")
	r.out.waitFor(t, "web-1/eth0 In ")

	m.watch <- func(w kube.PodWatch) { w.Changed(onePod("web-2")) }
	r.out.waitFor(t, "web-2/eth0 In ")

	deleted := onePod("web-1")
	deleted.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	m.watch <- func(w kube.PodWatch) { w.Last(deleted); w.Gone("web-1") }
	m.watch <- func(kube.PodWatch) {} // the set knows it
	close(m.gone["web-1"])
	r.notes.waitFor(t, "note: pod web-1 was deleted; its capture has ended")

	r.out.waitForMore(t, "web-0/eth0")

	if err := r.stop(); err != nil {
		t.Errorf("the capture ended with %v", err)
	}
	if !regexp.MustCompile(`\d+ packets captured, 0 dropped`).MatchString(r.notes.String()) {
		t.Errorf("notes = %s, want counts", r.notes.String())
	}
}

// TestPodThatIsRefused captures from one pod while another one takes no container.
func TestPodThatIsRefused(t *testing.T) {
	m := newManyPods(t)
	m.refused = "web-1"
	r := startCapture(t, m, options{shown: shown{all: true}})
	m.watch <- func(w kube.PodWatch) { w.Changed(onePod("web-0")); w.Changed(onePod("web-1")); w.Listed() }
	r.out.waitFor(t, "web-0/eth0")
	r.notes.waitFor(t, "note: pod web-1 is not captured: add a container: forbidden")

	want := "capture packets of deployment web: 1 of 2 pods were not captured"
	if err := r.stop(); err == nil || !strings.Contains(err.Error(), "1 of 2 pods were not captured") {
		t.Errorf("the capture ended with %v, want %s", err, want)
	}
}

// TestLostPod loses the connection to one of several pods that stay: the rest goes on, but not all is
// there, which is an error. The last one ends it.
func TestLostPod(t *testing.T) {
	m := newManyPods(t)
	m.gone["web-0"] = make(chan struct{})
	m.gone["web-1"] = make(chan struct{})
	r := startCapture(t, m, options{shown: shown{all: true}})
	m.watch <- func(w kube.PodWatch) { w.Changed(onePod("web-0")); w.Changed(onePod("web-1")); w.Listed() }
	r.out.waitFor(t, "web-0/eth0 In ")
	r.out.waitFor(t, "web-1/eth0 In ")
	close(m.gone["web-1"])
	r.notes.waitFor(t, "its capture has ended")

	r.out.waitForMore(t, "web-0/eth0")

	close(m.gone["web-0"])
	const want = "the captures of 2 of 2 pods have ended too early"
	if err := r.wait(); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the capture ended with %v, want %s", err, want)
	}
}

// TestEndWhilePodsStart ends captures while a pod still gets its container: with -c that is success,
// and before anything has begun it is an end by the user.
func TestEndWhilePodsStart(t *testing.T) {
	m := newManyPods(t)
	m.slow = "web-1"
	r := startCapture(t, m, options{count: 3, shown: shown{all: true}})
	m.watch <- func(w kube.PodWatch) { w.Changed(onePod("web-0")); w.Changed(onePod("web-1")); w.Listed() }
	if err := r.wait(); err != nil || !strings.Contains(r.notes.String(), "3 packets captured") {
		t.Errorf("the capture ended with %v, notes %s", err, r.notes)
	}

	m.slow, m.silent = "", "web-1" // it has its container, but no exec yet
	r = startCapture(t, m, options{count: 3, shown: shown{all: true}})
	m.watch <- func(w kube.PodWatch) { w.Changed(onePod("web-0")); w.Changed(onePod("web-1")); w.Listed() }
	if err := r.wait(); err != nil || strings.Contains(r.notes.String(), "note: ") {
		t.Errorf("the capture ended with %v, notes %s", err, r.notes)
	}

	m.slow, m.starting = "web-1", make(chan struct{})
	r = startCapture(t, m, options{shown: shown{all: true}})
	m.watch <- func(w kube.PodWatch) { w.Changed(onePod("web-1")); w.Listed() }
	<-m.starting
	if err := r.stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("the capture ended with %v, want that it was ended", err)
	}
}

// TestEveryPodIsRefused ends by itself.
func TestEveryPodIsRefused(t *testing.T) {
	m := newManyPods(t)
	m.refused = "web-1"
	r := startCapture(t, m, options{shown: shown{all: true}})
	m.watch <- func(w kube.PodWatch) { w.Changed(onePod("web-1")); w.Listed() }
	if err := r.wait(); err == nil || !strings.Contains(err.Error(), "forbidden") {
		t.Errorf("the capture ended with %v, want why", err)
	}
}

// TestFileHasNamesAndProcesses looks into a file for what tells the packets apart.
func TestFileHasNamesAndProcesses(t *testing.T) {
	m := newManyPods(t)
	m.taken = wire.Snapshot{
		Time: time.Now(), Processes: []wire.Process{{PID: 7, Name: "nginx"}},
		Sockets: []wire.Socket{{Protocol: "tcp", State: wire.StateListen, Local: "0.0.0.0:80", PIDs: []int{7}}},
	}
	file := filepath.Join(t.TempDir(), "a.pcapng")
	r := startCapture(t, m, options{file: file, shown: shown{processes: true}})
	waitForFile(t, file, "process nginx (PID 7)")
	if err := r.stop(); err != nil {
		t.Errorf("the capture ended with %v", err)
	}

	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"web-0/eth0", "caller.shop\x00", "web.shop.svc\x00", "node-a\x00", "web-0.default\x00",
		"pod default/web-0, container app, process nginx (PID 7)",
	} {
		if !bytes.Contains(content, []byte(want)) {
			t.Errorf("the file does not have %q", want)
		}
	}

	names, packet := bytes.Index(content, []byte("caller.shop")), bytes.Index(content, callFrame())
	if names > packet {
		t.Errorf("the names are at %d, behind the first packet at %d", names, packet)
	}
}

// waitForFile waits until there is a text in a file.
func waitForFile(t *testing.T, file, text string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if content, err := os.ReadFile(file); err == nil && bytes.Contains(content, []byte(text)) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %q in the file", text)
		}
	}
}

// TestNamesInText shows names in the place of addresses.
func TestNamesInText(t *testing.T) {
	r := startCapture(t, newManyPods(t), options{shown: shown{names: true}})
	r.out.waitFor(t, "eth0 In  IP caller.shop.4000 > 10.0.0.1.80: Flags [S]")
	if err := r.stop(); err != nil {
		t.Errorf("the capture ended with %v", err)
	}
}

// TestSlowNames begins a capture without names that do not come.
func TestSlowNames(t *testing.T) {
	wait := lookUpNames(t.Context(), stuckLister{})
	if got := wait(); len(got) != 0 {
		t.Errorf("names = %v, want none", got)
	}
}

// stuckLister lists nothing until it is told to end.
type stuckLister struct{}

func (stuckLister) ListPeers(ctx context.Context) (kube.Peers, []string) {
	<-ctx.Done()
	return nil, nil
}
