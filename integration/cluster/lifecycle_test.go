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

// lifecycleEnv asks for the tests that start real clusters. They take minutes, need root, and a machine without a cluster.
const lifecycleEnv = "KDIAG_CLUSTER_TEST"

// realCluster gives one in a state directory of its own, with the project's programs if these are built. After the test it is
// down, and the machine is as it was.
func realCluster(t *testing.T) *cluster {
	t.Helper()
	if os.Getenv(lifecycleEnv) == "" {
		t.Skipf("set %s=1 to start real clusters", lifecycleEnv)
	}
	if os.Geteuid() != 0 {
		t.Fatalf("uid %d, want 0", os.Geteuid())
	}

	dir, err := os.MkdirTemp("", "kc") // t.TempDir's path is too long for sockets, and /tmp may be a file system of its own
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { os.RemoveAll(dir) })
	// Containers with a user namespace have to get through.
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}

	c := &cluster{dir: dir, out: t.Output()}
	if other, err := c.neighbour(); other != "" || err != nil {
		t.Fatalf("the cluster in %q is up: %v", other, err)
	}

	root, err := projectRoot()
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

	before := traces(t, c)
	t.Cleanup(func() {
		c.mustRun(t, "down")
		c.mustRun(t, "down")
		assertSame(t, before, traces(t, c))
	})

	return c
}

// command makes the test binary the cluster command.
func (c *cluster) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], append([]string{"--dir", c.dir}, args...)...)
	cmd.Env = append(os.Environ(), asClusterEnv+"=1")
	return cmd
}

// mustRun runs the cluster command in a process of its own, and gives what it says.
func (c *cluster) mustRun(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.command(context.Background(), args...).CombinedOutput() // t's context is done when its clean-up runs
	t.Logf("cluster %s:\n%s", strings.Join(args, " "), out)
	if err != nil {
		t.Fatalf("cluster %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

func (c *cluster) kubectl(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command(c.Path("bin/kubectl"), append([]string{"--kubeconfig", c.Path("kubeconfig")}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// runPod starts a pod of the one image there is, in which nothing happens.
func (c *cluster) runPod(t *testing.T, name string) {
	t.Helper()
	c.kubectl(t, `
apiVersion: v1
kind: Pod
metadata: {name: `+name+`}
spec:
  containers:
  - {name: main, image: "`+pauseImage+`", imagePullPolicy: Never}
`, "apply", "-f", "-")
	c.kubectl(t, "", "wait", "--for=condition=Ready", "pod/"+name, "--timeout=60s")
}

// traces is all that a cluster could leave on the machine: kind and name of each.
func traces(t *testing.T, c *cluster) []string {
	t.Helper()
	var found []string
	add := func(kind, name string) { found = append(found, kind+" "+name) }

	all, err := mounts()
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

func assertSame(t *testing.T, before, after []string) {
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

func TestUpTwiceAndDown(t *testing.T) {
	c := realCluster(t)
	c.mustRun(t, "up")
	c.runPod(t, "web")
	uid := c.kubectl(t, "", "get", "pod", "web", "-o", "jsonpath={.metadata.uid}")
	begin := time.Now()
	c.mustRun(t, "up")
	if took := time.Since(begin); took > time.Second {
		t.Errorf("the second up took %v, want under 1s", took)
	}
	if got := c.kubectl(t, "", "get", "pod", "web", "-o", "jsonpath={.metadata.uid}"); got != uid {
		t.Errorf("the second up made a new cluster: pod's uid = %s, want %s", got, uid)
	}
	if version := c.kubectl(t, "", "version"); strings.Count(version, kubernetesVersion) != 2 {
		t.Errorf("kubectl version = %q, want %s of client and server", version, kubernetesVersion)
	}
}

func TestTwoUpsAtOnce(t *testing.T) {
	c := realCluster(t)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if out, err := c.command(t.Context(), "up").CombinedOutput(); err != nil {
				t.Errorf("up: %v: %s", err, out)
			}
		})
	}

	both.Wait()
	all, err := processes()
	if err != nil {
		t.Fatal(err)
	}

	counts := map[string]int{}
	for _, p := range all {
		if p.dir == c.dir && p.main {
			counts[p.part]++
		}
	}

	for _, p := range components {
		if counts[p.name] != 1 {
			t.Errorf("%d processes of %s, want 1", counts[p.name], p.name)
		}
	}

	if err := c.healthy(t.Context()); err != nil {
		t.Error(err)
	}
}

// killUp kills an up when it has said a line that starts with step, and some time after.
func (c *cluster) killUp(t *testing.T, step string, after time.Duration) {
	t.Helper()
	cmd := c.command(t.Context(), "up")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	for lines := bufio.NewScanner(out); lines.Scan() && !strings.HasPrefix(lines.Text(), step); {
	}
	time.Sleep(after)
	if err := cmd.Process.Kill(); err != nil {
		t.Errorf("up ended before it was killed after %q: %v", step, err)
	}

	cmd.Wait()
}

func TestUpIsKilled(t *testing.T) {
	c := realCluster(t)
	clean := traces(t, c)
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
		c.killUp(t, at.step, at.after)
		c.mustRun(t, "down")
		t.Logf("after %s and %v", at.step, at.after)
		assertSame(t, clean, traces(t, c))
	}

	c.killUp(t, "API server", 200*time.Millisecond)
	c.mustRun(t, "up")
	c.runPod(t, "web")
}

// After a crash of the machine there are files that speak of what is gone; after one of the cluster, mounts and more are left.
func TestUpOnStaleState(t *testing.T) {
	c := realCluster(t)
	c.mustRun(t, "up")
	c.runPod(t, "web")
	all, err := processes()
	if err != nil {
		t.Fatal(err)
	}

	for _, p := range all {
		if p.dir == c.dir {
			if err := p.signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}

	if err := os.WriteFile(c.Path("etcd/member/snap/db"), []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}

	c.mustRun(t, "up")
	c.runPod(t, "web")

	c.mustRun(t, "stop", "--kill", "etcd")
	c.mustRun(t, "up") // anew, for it was not healthy
	c.runPod(t, "web")

	c.mustRun(t, "down")
	dirs, err := cgroupDirs()
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

	c.mustRun(t, "up")
	c.runPod(t, "web")
}

func TestStopAndStart(t *testing.T) {
	c := realCluster(t)
	c.mustRun(t, "up")
	c.runPod(t, "web")
	containerID := func() string {
		return c.kubectl(t, "", "get", "pod", "web", "-o", "jsonpath={.status.containerStatuses[0].containerID}")
	}
	id := containerID()
	for _, p := range components {
		for _, stop := range [][]string{{"stop", p.name}, {"stop", p.name}, {"start", p.name}, {"start", p.name}, {"stop", "--kill", p.name}} {
			c.mustRun(t, stop...)
		}
		if out, err := c.command(t.Context(), "status").CombinedOutput(); err == nil || !strings.Contains(string(out), p.name+" does not run") {
			t.Errorf("status without %s: %v: %s", p.name, err, out)
		}
		c.mustRun(t, "start", p.name)
	}

	if !c.settles(t.Context()) {
		t.Error(c.healthy(t.Context()))
	}
	if got := containerID(); got != id {
		t.Errorf("the pod's container is %s, was %s", got, id)
	}

	c.mustRun(t, "stop", "kubelet")
	begin := time.Now()
	c.kubectl(t, "", "wait", "--for=condition=Ready=Unknown", "node/"+node, "--timeout=30s")
	t.Logf("the node was missed after %v", time.Since(begin))
	c.mustRun(t, "start", "kubelet")
	c.kubectl(t, "", "wait", "--for=condition=Ready", "node/"+node, "--timeout=30s")
}

func TestOneClusterOnAMachine(t *testing.T) {
	c := realCluster(t)
	c.mustRun(t, "up")
	other := &cluster{dir: t.TempDir(), out: t.Output()}
	other.dir = filepath.Join(filepath.Dir(c.dir), filepath.Base(c.dir)+"x")
	defer os.RemoveAll(other.dir)
	out, err := other.command(t.Context(), "up").CombinedOutput()
	if err == nil || !strings.Contains(string(out), fmt.Sprintf("--dir %s down", c.dir)) {
		t.Errorf("up beside another: %v: %s", err, out)
	}

	other.mustRun(t, "down") // its own is down; the other stays
	if err := c.healthy(t.Context()); err != nil {
		t.Error(err)
	}
}
