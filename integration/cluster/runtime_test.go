package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRuntimeVersionsAreThoseOfGoMod compares the versions with go.mod and with the
// documents.
func TestRuntimeVersionsAreThoseOfGoMod(t *testing.T) {
	containerd, runc := "containerd "+containerdVersion, "runc "+runcVersion
	for file, want := range map[string][]string{
		runtimeModule + "/go.mod": {"containerd/containerd/v2 " + containerdVersion + " ", "opencontainers/" + runc + " "},
		"README.md":               {containerd, runc},
		"../../docs/testing.md":   {containerd, runc},
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range want {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s lacks %q", file, want)
			}
		}
	}
}

// TestClosedDirectoryIsNamed names a directory that keeps pods with user namespaces
// out.
func TestClosedDirectoryIsNamed(t *testing.T) {
	closed := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}

	c := &cluster{dir: filepath.Join(closed, "not/there/yet")}
	for _, r := range runtimes {
		err := c.checkWayIn(r)
		if named := err != nil && strings.Contains(err.Error(), "cannot pass "+closed+" (mode 0700)"); named != r.userNamespaces {
			t.Errorf("checkWayIn(%s) = %v, want the directory named: %t", r.name, err, r.userNamespaces)
		}
	}
}

// runUserNamespacePod starts a pod with "hostUsers: false", and tells whether it has
// a user namespace of its own.
func (c *cluster) runUserNamespacePod(t *testing.T, name string) (own bool) {
	t.Helper()
	c.runKubectl(t, `
apiVersion: v1
kind: Pod
metadata: {name: `+name+`}
spec:
  hostUsers: false
  containers:
  - {name: main, image: "`+pauseImage+`", imagePullPolicy: Never}
`, "apply", "-f", "-")

	c.runKubectl(t, "", "wait", "--for=condition=Ready", "pod/"+name, "--timeout=60s")

	uid := c.runKubectl(t, "", "get", "pod", name, "-o", "jsonpath={.metadata.uid}")
	dirs, err := listCgroupDirs()
	if err != nil {
		t.Fatal(err)
	}

	var pids []int
	for _, dir := range dirs {
		pods, _ := filepath.Glob(dir + "/kubepods/*/pod" + uid)
		for _, pod := range pods {
			found, err := listCgroupProcesses(pod)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, found...)
		}
	}

	if len(pids) == 0 {
		t.Fatalf("no process of pod %s", name)
	}

	text, err := os.ReadFile("/proc/" + strconv.Itoa(pids[0]) + "/uid_map")
	if err != nil {
		t.Fatal(err)
	}

	ids := strings.Fields(string(text))
	return len(ids) == 3 && ids[1] != "0"
}

// listRunningPrograms returns the programs that the cluster's containerd and shims
// are, each once.
func (c *cluster) listRunningPrograms(t *testing.T) map[string]bool {
	t.Helper()
	programs := map[string]bool{}
	for _, p := range c.listOwnProcesses(t) {
		path, err := os.Readlink("/proc/" + strconv.Itoa(p.pid) + "/exe")
		if err == nil && strings.HasPrefix(filepath.Base(path), "containerd") {
			programs[path] = true
		}
	}

	return programs
}

// listBuiltPrograms returns the programs of the second runtime, as files.
func (c *cluster) listBuiltPrograms(t *testing.T) (files []os.FileInfo) {
	t.Helper()
	for _, name := range []string{"containerd", "containerd-shim-runc-v2", "ctr", "runc"} {
		info, err := os.Stat(c.Path("bin/containerd2/" + name))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, info)
	}
	return files
}

// TestRuntimeChanges goes to the other runtime and back, also killed half-way, and
// leaves nothing of either.
func TestRuntimeChanges(t *testing.T) {
	c := createRealCluster(t)
	clean := listTraces(t, c)
	c.runCluster(t, "up")
	c.runPod(t, "web")
	if status := c.runCluster(t, "status"); !strings.Contains(status, "debian: containerd 1.6.") {
		t.Errorf("status = %q, want the runtime and its versions", status)
	}

	said := c.runCluster(t, "up", "--runtime", "containerd2")
	if !strings.Contains(said, "cluster is up on debian: starting a new one on containerd2") {
		t.Errorf("up --runtime = %q, want it to say what it does", said)
	}
	if status := c.runCluster(t, "status"); !strings.Contains(status, "containerd2: containerd "+containerdVersion+", runc "+strings.TrimPrefix(runcVersion, "v")) {
		t.Errorf("status = %q, want the runtime and its versions", status)
	}
	if !c.runUserNamespacePod(t, "web") {
		t.Error("a pod with hostUsers: false has the node's user namespace")
	}

	for program := range c.listRunningPrograms(t) {
		if filepath.Dir(program) != c.Path("bin/containerd2") {
			t.Errorf("%s runs, want only what was built", program)
		}
	}

	c.verifySecondUpDoesNothing(t)

	for _, name := range []string{"containerd", "kubelet"} {
		c.runCluster(t, "stop", name)
		c.runCluster(t, "start", name)
	}

	c.runPod(t, "again")
	c.runByHand(t)

	c.runCluster(t, "down")
	verifySameTraces(t, clean, listTraces(t, c))
	c.runCluster(t, "up", "--runtime", "containerd2")
	c.runUserNamespacePod(t, "web")
	c.killUpAfter(t, "certificates", 20*time.Millisecond) // on the way back
	c.runCluster(t, "up", "--runtime", "containerd2")
	c.runUserNamespacePod(t, "web")
	c.runCluster(t, "up")
	c.runPod(t, "web")
}

// verifySecondUpDoesNothing runs up once more on the second runtime: no program is
// built, and the pod "web" lives on.
func (c *cluster) verifySecondUpDoesNothing(t *testing.T) {
	t.Helper()
	uid := c.runKubectl(t, "", "get", "pod", "web", "-o", "jsonpath={.metadata.uid}")
	built := c.listBuiltPrograms(t)
	c.runCluster(t, "build", "--runtime", "containerd2")
	c.runCluster(t, "up", "--runtime", "containerd2")

	for i, again := range c.listBuiltPrograms(t) { // a file that go build writes is a new one
		if !os.SameFile(again, built[i]) {
			t.Errorf("%s was built again", again.Name())
		}
	}

	if got := c.runKubectl(t, "", "get", "pod", "web", "-o", "jsonpath={.metadata.uid}"); got != uid {
		t.Errorf("the second up made a new cluster: pod's uid = %s, want %s", got, uid)
	}
}

// runByHand runs a container by ctr, as one does when something is wrong, and ends
// it.
func (c *cluster) runByHand(t *testing.T) {
	t.Helper()
	const id = "by-hand"
	ctr := c.toolCommand(t.Context(), c.runtimeProgram("ctr"), "--address", c.Path("run/containerd.sock"), "-n", "k8s.io", "run", "--rm", pauseImage, id)
	if err := ctr.Start(); err != nil {
		t.Fatal(err)
	}
	defer ctr.Wait()

	// The container is there a moment later.
	err := waitUntil(t.Context(), time.Minute, func() error {
		_, err := c.runCtr(t.Context(), "tasks", "kill", "--signal", strconv.Itoa(int(syscall.SIGKILL)), id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
