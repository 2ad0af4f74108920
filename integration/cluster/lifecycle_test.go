package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// lifecycleEnv asks for the tests that start real clusters. They take minutes, need
// root, and a machine without a cluster.
const lifecycleEnv = "KDIAG_CLUSTER_TEST"

// createRealCluster prepares a cluster in a state directory of its own, with the
// project's programs if they are built. At the end of the test it takes the cluster
// down and checks that the machine is as it was.
func createRealCluster(t *testing.T) *cluster {
	t.Helper()
	if os.Getenv(lifecycleEnv) == "" {
		t.Skipf("set %s=1 to start real clusters", lifecycleEnv)
	}
	if os.Geteuid() != 0 {
		t.Fatalf("uid %d, want 0", os.Geteuid())
	}

	// The path of t.TempDir is too long for sockets.
	dir, err := os.MkdirTemp("", "kc")
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { os.RemoveAll(dir) })
	// Containers with a user namespace have to get through.
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}

	c := &cluster{dir: dir, out: t.Output()}
	if other, err := c.findNeighbour(); other != "" || err != nil {
		t.Fatalf("the cluster in %q is up: %v", other, err)
	}

	root, err := findProjectRoot()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(c.Path("bin/containerd2"), 0o755); err != nil {
		t.Fatal(err)
	}

	for _, name := range []string{
		"kube", "kubectl", "pause", "containerd2/containerd", "containerd2/containerd-shim-runc-v2", "containerd2/ctr", "containerd2/runc",
	} {
		_ = os.Link(filepath.Join(root, ".cluster/bin", name), c.Path("bin/"+name))
	}

	before := listTraces(t, c)
	t.Cleanup(func() {
		c.runCluster(t, "down")
		c.runCluster(t, "down")
		verifySameTraces(t, before, listTraces(t, c))
	})

	return c
}

// clusterCommand returns a run of the test binary as the cluster command.
func (c *cluster) clusterCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], append([]string{"--dir", c.dir}, args...)...)
	cmd.Env = append(os.Environ(), asClusterEnv+"=1")
	return cmd
}

// runCluster runs the cluster command in a process of its own, and returns what it
// prints.
func (c *cluster) runCluster(t *testing.T, args ...string) string {
	t.Helper()
	// The test's own context is done by the time of the clean-up.
	out, err := c.clusterCommand(context.Background(), args...).CombinedOutput()
	t.Logf("cluster %s:\n%s", strings.Join(args, " "), out)
	if err != nil {
		t.Fatalf("cluster %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// listOwnProcesses returns the processes of the cluster.
func (c *cluster) listOwnProcesses(t *testing.T) []process {
	t.Helper()
	all, err := listProcesses()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(p process) bool { return p.dir != c.dir })
}

// runKubectl runs kubectl, which must succeed, and returns what it prints.
func (c *cluster) runKubectl(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command(c.Path("bin/kubectl"), append([]string{"--kubeconfig", c.Path("kubeconfig")}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// runPod starts a pod of the only image there is, which does nothing, and waits
// until it is ready.
func (c *cluster) runPod(t *testing.T, name string) {
	t.Helper()
	c.runKubectl(t, `
apiVersion: v1
kind: Pod
metadata: {name: `+name+`}
spec:
  containers:
  - {name: main, image: "`+pauseImage+`", imagePullPolicy: Never}
`, "apply", "-f", "-")
	c.runKubectl(t, "", "wait", "--for=condition=Ready", "pod/"+name, "--timeout=60s")
}

// listTraces lists everything that a cluster could leave on the machine, each with
// its kind and name.
func listTraces(t *testing.T, c *cluster) []string {
	t.Helper()
	var found []string
	add := func(kind, name string) { found = append(found, kind+" "+name) }

	all, err := readMounts()
	if err != nil {
		t.Fatal(err)
	}

	for _, m := range all {
		add("mount", m.point)
		if m.fstype == "cgroup" || m.fstype == "cgroup2" {
			dirs, _ := filepath.Glob(m.point + "/*" + node + "*")
			pods, _ := filepath.Glob(m.point + "/*kube*")
			for _, dir := range append(dirs, pods...) {
				add("cgroup", dir)
			}
		}
	}

	for _, pattern := range []string{
		"/run/netns", "/run/netns/*", "/sys/class/net/*", "/run/containerd", "/run/containerd/*", "/run/containerd/*/*", "/run/runc", "/run/runc/*", "/run/nri", "/run/nri/*",
		"/run/kube*", "/run/xtables.lock", "/var/lib/kubelet", "/var/lib/cni", "/var/lib/containerd", "/var/log/containers", "/var/log/pods",
		"/etc/cni", "/opt/*", "/usr/libexec/*", "/tmp/*kube*", "/tmp/*containerd*", c.dir + "/*",
	} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			add("file", path)
		}
	}

	for _, command := range []string{"iptables-save", "ip6tables-save", "iptables-legacy-save", "ip rule", "ip route", "ip -6 route"} {
		out, err := exec.Command("sh", "-c", command+" | sed 's/ expires [0-9]*sec//; /^#/d; s/\\[[0-9:]*\\]//'").Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			add(command, strings.TrimSpace(line))
		}
	}

	for path := range settings {
		text, _ := os.ReadFile(path)
		add(path, strings.TrimSpace(string(text)))
	}

	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}

	for _, dir := range procs {
		// One that is dead has no command line any more: it is PID 1's to wait for.
		if line, err := os.ReadFile(dir + "/cmdline"); err != nil || len(line) == 0 {
			continue
		}

		name, _ := os.ReadFile(dir + "/comm")
		for _, file := range []string{"cmdline", "environ", "cgroup"} {
			text, _ := os.ReadFile(dir + "/" + file)
			if bytes.Contains(text, []byte(c.dir+"/")) || bytes.Contains(text, []byte("/"+node)) {
				add("process", filepath.Base(dir)+" "+strings.TrimSpace(string(name)))
				break
			}
		}
	}

	slices.Sort(found)
	return found
}

// verifySameTraces fails the test for what was left behind, or taken away.
func verifySameTraces(t *testing.T, before, after []string) {
	t.Helper()
	for _, trace := range after {
		if !slices.Contains(before, trace) {
			t.Errorf("left behind: %s", trace)
		}
	}

	for _, trace := range before {
		if !slices.Contains(after, trace) {
			t.Errorf("taken away: %s", trace)
		}
	}
}

// TestUpTwiceAndDown has the second up find the cluster, and do nothing.
func TestUpTwiceAndDown(t *testing.T) {
	c := createRealCluster(t)
	c.runCluster(t, "up")
	c.runPod(t, "web")
	uid := c.runKubectl(t, "", "get", "pod", "web", "-o", "jsonpath={.metadata.uid}")
	begin := time.Now()
	c.runCluster(t, "up")
	if took := time.Since(begin); took > time.Second {
		t.Errorf("the second up took %v, want under 1s", took)
	}
	if got := c.runKubectl(t, "", "get", "pod", "web", "-o", "jsonpath={.metadata.uid}"); got != uid {
		t.Errorf("the second up made a new cluster: pod's uid = %s, want %s", got, uid)
	}
	if version := c.runKubectl(t, "", "version"); strings.Count(version, kubernetesVersion) != 2 {
		t.Errorf("kubectl version = %q, want %s of client and server", version, kubernetesVersion)
	}
}

// TestTwoUpsAtOnce has two ups at the same time start one cluster.
func TestTwoUpsAtOnce(t *testing.T) {
	c := createRealCluster(t)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if out, err := c.clusterCommand(t.Context(), "up").CombinedOutput(); err != nil {
				t.Errorf("up: %v: %s", err, out)
			}
		})
	}

	both.Wait()
	counts := map[string]int{}
	for _, p := range c.listOwnProcesses(t) {
		if p.isComponent {
			counts[p.part]++
		}
	}

	for _, p := range components {
		if counts[p.name] != 1 {
			t.Errorf("%d processes of %s, want 1", counts[p.name], p.name)
		}
	}

	if err := c.checkHealth(t.Context()); err != nil {
		t.Error(err)
	}
}

// killUpAfter kills an up some time after it has printed a line that starts with
// step.
func (c *cluster) killUpAfter(t *testing.T, step string, after time.Duration) {
	t.Helper()
	cmd := c.clusterCommand(t.Context(), "up")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	for lines := bufio.NewScanner(out); lines.Scan() && !strings.HasPrefix(lines.Text(), step); {
	}

	// The step is under way for some time, which is what is tested.
	time.Sleep(after)
	if err := cmd.Process.Kill(); err != nil {
		t.Errorf("up ended before it was killed after %q: %v", step, err)
	}

	cmd.Wait()
}

// TestUpIsKilled kills up at every step: down leaves nothing of it, and the next up
// works.
func TestUpIsKilled(t *testing.T) {
	c := createRealCluster(t)
	clean := listTraces(t, c)
	for _, at := range []struct {
		step  string
		after time.Duration
	}{
		{"tools", 0},
		{"certificates", 0},
		{"certificates", 20 * time.Millisecond}, // the network is half made
		{"network", 0},
		{"cgroups", 50 * time.Millisecond},
		{"etcd, containerd", 100 * time.Millisecond},
		{"pause image", 0},
		{"pause image", time.Second},
		{"API server", 0},
		{"API server", 500 * time.Millisecond},
	} {
		c.killUpAfter(t, at.step, at.after)
		c.runCluster(t, "down")
		t.Logf("after %s and %v", at.step, at.after)
		verifySameTraces(t, clean, listTraces(t, c))
	}

	c.killUpAfter(t, "API server", 200*time.Millisecond)
	c.runCluster(t, "up")
	c.runPod(t, "web")
}

// TestUpOnStaleState starts a cluster on what a crash has left: files that speak of
// what is gone, torn files, mounts, cgroups and half a network.
func TestUpOnStaleState(t *testing.T) {
	c := createRealCluster(t)
	c.runCluster(t, "up")
	c.runPod(t, "web")
	for _, p := range c.listOwnProcesses(t) {
		if err := p.signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}

	if err := os.WriteFile(c.Path("etcd/member/snap/db"), []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}

	c.runCluster(t, "up")
	c.runPod(t, "web")

	c.runCluster(t, "stop", "--kill", "etcd")
	c.runCluster(t, "up") // anew, for it was not healthy
	c.runPod(t, "web")

	c.runCluster(t, "down")
	dirs, err := listCgroupDirs()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dirs[0], "kubepods/burstable"), 0o755); err != nil {
		t.Fatal(err)
	}

	mountPoint := c.Path("run/a b")
	if err := os.MkdirAll(mountPoint, 0o755); err != nil {
		t.Fatal(err)
	}

	for _, command := range [][]string{
		{"mount", "-t", "tmpfs", "none", mountPoint},
		{"ip", "netns", "add", node},                      // a namespace without a link
		{"ip", "link", "add", hostLink, "type", "bridge"}, // a link without a namespace
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
	}

	c.runCluster(t, "up")
	c.runPod(t, "web")
}

// TestStopAndStart stops and starts each component: the others and the pods live on.
func TestStopAndStart(t *testing.T) {
	c := createRealCluster(t)
	c.runCluster(t, "up")
	c.runPod(t, "web")
	containerID := func() string {
		return c.runKubectl(t, "", "get", "pod", "web", "-o", "jsonpath={.status.containerStatuses[0].containerID}")
	}
	id := containerID()
	for _, p := range components {
		for _, stop := range [][]string{{"stop", p.name}, {"stop", p.name}, {"start", p.name}, {"start", p.name}, {"stop", "--kill", p.name}} {
			c.runCluster(t, stop...)
		}
		if out, err := c.clusterCommand(t.Context(), "status").CombinedOutput(); err == nil || !strings.Contains(string(out), p.name+" is not running") {
			t.Errorf("status without %s: %v: %s", p.name, err, out)
		}
		c.runCluster(t, "start", p.name)
	}

	if !c.becomesHealthy(t.Context()) {
		t.Error(c.checkHealth(t.Context()))
	}
	if got := containerID(); got != id {
		t.Errorf("the pod's container is %s, was %s", got, id)
	}

	c.runCluster(t, "stop", "kubelet")
	begin := time.Now()
	c.runKubectl(t, "", "wait", "--for=condition=Ready=Unknown", "node/"+node, "--timeout=30s")
	t.Logf("the node was missed after %v", time.Since(begin))
	c.runCluster(t, "start", "kubelet")
	c.runKubectl(t, "", "wait", "--for=condition=Ready", "node/"+node, "--timeout=30s")
}

// TestOneClusterOnAMachine refuses to start a second cluster, and leaves the first
// one alone.
func TestOneClusterOnAMachine(t *testing.T) {
	c := createRealCluster(t)
	c.runCluster(t, "up")
	other := &cluster{dir: t.TempDir(), out: t.Output()}
	other.dir = filepath.Join(filepath.Dir(c.dir), filepath.Base(c.dir)+"x")
	defer os.RemoveAll(other.dir)
	out, err := other.clusterCommand(t.Context(), "up").CombinedOutput()
	if err == nil || !strings.Contains(string(out), fmt.Sprintf("--dir %s down", c.dir)) {
		t.Errorf("up beside another: %v: %s", err, out)
	}

	other.runCluster(t, "down") // its own is down; the other stays
	if err := c.checkHealth(t.Context()); err != nil {
		t.Error(err)
	}
}
