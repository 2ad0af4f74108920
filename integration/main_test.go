package integration

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// suite is what every test of a run shares.
type suite struct {
	root       string // the project's root
	kubeconfig string
	image      string
	home       string // of the user whose containers are used again
	node       string // where "make cluster" runs its node, or empty
	namespaces []string
	mu         sync.Mutex
}

var shared suite

func TestMain(m *testing.M) {
	code, err := shared.run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration:", err)
		code = 1
	}
	os.Exit(code)
}

func (s *suite) run(m *testing.M) (int, error) {
	s.kubeconfig, s.image = os.Getenv("KUBECONFIG"), os.Getenv("KDIAG_TEST_IMAGE")
	if s.kubeconfig == "" || s.image == "" {
		if os.Getenv("CI") != "" || os.Getenv("KDIAG_TEST_ALL") != "" {
			return 1, errors.New("no cluster: run make integration, or set KUBECONFIG and KDIAG_TEST_IMAGE")
		}
		fmt.Println("skipped: no cluster (run make integration)")
		return 0, nil
	}

	var err error
	if s.root, err = filepath.Abs(".."); err != nil {
		return 1, err
	}
	if s.home, err = os.MkdirTemp("", "kdiag-home"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(s.home)

	if strings.HasPrefix(s.kubeconfig, filepath.Join(s.root, ".cluster")) {
		s.node = "kdiag-node"
	}

	code := m.Run()
	for _, namespace := range s.namespaces {
		_, _ = s.kubectl(context.Background(), "", "delete", "namespace", namespace, "--wait=false")
	}

	return code, nil
}

// result is how a run of a command ended.
type result struct {
	stdout, stderr string
	code           int
}

// String shows all of it, for a failed test.
func (r result) String() string {
	return fmt.Sprintf("code %d\nstdout: %s\nstderr: %s", r.code, r.stdout, r.stderr)
}

// env is the environment of the tested binary: the user's own, but for what
// it keeps on disk.
func (s *suite) env(extra ...string) []string {
	return append(append(os.Environ(), "KUBECONFIG="+s.kubeconfig, "KDIAG_IMAGE="+s.image,
		"HOME="+s.home, "XDG_CONFIG_HOME="+filepath.Join(s.home, ".config")), extra...)
}

func (s *suite) binary() string { return filepath.Join(s.root, "bin", "kubectl-kdiag") }

// kdiag runs the binary to its end, without a terminal.
func kdiag(t *testing.T, args ...string) result {
	t.Helper()
	return kdiagWith(t, "", nil, args...)
}

// kdiagWith runs the binary with something on stdin and more environment. Where
// the container that it found ended just then, as one does that an earlier test
// has left idle, it does what kdiag's hint says.
func kdiagWith(t *testing.T, stdin string, env []string, args ...string) result {
	t.Helper()
	got := run(t, stdin, shared.env(env...), shared.binary(), args...)
	if got.stdout == "" && strings.HasSuffix(got.stderr, "\nhint: the container it ran in has ended; run it again, and a new one is started\n") {
		got = run(t, stdin, shared.env(env...), shared.binary(), args...)
	}
	return got
}

func run(t *testing.T, stdin string, env []string, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = env
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s %q: %v", name, args, err)
	}

	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

func (s *suite) kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "kubectl", args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+s.kubeconfig)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// kubectl prepares and looks at the cluster; it must succeed.
func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := shared.kubectl(t.Context(), "", args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func apply(t *testing.T, namespace, manifest string) {
	t.Helper()
	if _, err := shared.kubectl(t.Context(), manifest, "apply", "-n", namespace, "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

// newNamespace makes a namespace with labels as "key=value"; it goes with the
// run.
func newNamespace(t *testing.T, labels ...string) string {
	t.Helper()
	var random [4]byte
	_, _ = rand.Read(random[:])
	name := "kdiag-test-" + hex.EncodeToString(random[:])
	kubectl(t, "create", "namespace", name)
	shared.mu.Lock()
	shared.namespaces = append(shared.namespaces, name)
	shared.mu.Unlock()
	if len(labels) > 0 {
		kubectl(t, append([]string{"label", "namespace", name}, labels...)...)
	}

	eventually(t, "the default service account of "+name, func() bool {
		_, err := shared.kubectl(t.Context(), "", "get", "serviceaccount", "-n", name, "default")
		return err == nil
	})
	return name
}

// eventually waits for something that takes the cluster a while.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(3 * time.Minute)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("still waiting for %s", what)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func manifest(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(shared.root, "testdata", "manifests", name))
	if err != nil {
		t.Fatal(err)
	}
	if wantsUserNamespaces(t) {
		return withUserNamespaces(string(text))
	}
	return string(text)
}

// sharedPods are the pods of pods.yaml, which all tests share.
type sharedPods struct {
	once      sync.Once
	namespace string
}

var nodesUsers, ownUsers sharedPods

// pods is the namespace with the pods of pods.yaml, running. Tests that want
// user namespaces have one of their own.
func pods(t *testing.T) string {
	t.Helper()
	which := &nodesUsers
	if wantsUserNamespaces(t) {
		which = &ownUsers
	}

	which.once.Do(func() {
		namespace := newNamespace(t)
		apply(t, namespace, manifest(t, "pods.yaml"))
		waitForPods(t, namespace)
		which.namespace = namespace
	})

	if which.namespace == "" {
		t.Fatal("the shared pods did not start")
	}

	return which.namespace
}

// waitForPods waits until every container that is meant to run does. The pod
// "initializing" stays in its init container.
func waitForPods(t *testing.T, namespace string) {
	t.Helper()
	eventually(t, "the pods of "+namespace, func() bool {
		states := kubectl(t, "get", "pods", "-n", namespace, "-o",
			`jsonpath={range .items[*]}{.metadata.name}{range .status.containerStatuses[*]} {.state.running.startedAt}{end}{range .status.initContainerStatuses[*]} {.state.running.startedAt}{end}{"\n"}{end}`)
		for line := range strings.Lines(states) {
			fields := strings.Fields(line)
			want := map[string]int{"several": 3, "sharedpids": 3, "sidecar": 3, "initializing": 2}[fields[0]]
			if want == 0 {
				want = 2
			}
			if len(fields) < want {
				return false
			}
		}

		return states != ""
	})
}

// wantsUserNamespaces tells whether a test is one of userns_linux_test.go, whose
// pods have a user namespace each. The cluster's runtime must have them: make
// integration-containerd2 runs these tests, make integration does not.
func wantsUserNamespaces(t *testing.T) bool {
	return strings.HasPrefix(t.Name(), "TestUserNamespace")
}

var gracePeriodLine = regexp.MustCompile(`(?m)^( *)terminationGracePeriodSeconds: 1$`)

// withUserNamespaces adds "hostUsers: false" to the pods of a manifest that may
// have it: those that do not share a namespace of the node's.
func withUserNamespaces(manifest string) string {
	documents := strings.Split(manifest, "\n---\n")
	for i, document := range documents {
		if !strings.Contains(document, "hostPID: true") && !strings.Contains(document, "hostNetwork: true") {
			documents[i] = gracePeriodLine.ReplaceAllString(document, "$0\n${1}hostUsers: false")
		}
	}
	return strings.Join(documents, "\n---\n")
}
