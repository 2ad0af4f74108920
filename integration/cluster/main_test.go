package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

// The test binary becomes another program when one of these is set.
const (
	asClusterEnv = "KDIAG_CLUSTER_TEST_RUN"  // the cluster command
	holdEnv      = "KDIAG_CLUSTER_TEST_HOLD" // a holder of the lock that it names
)

func TestMain(m *testing.M) {
	if os.Getenv(asClusterEnv) != "" {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}

	if name := os.Getenv(holdEnv); name != "" {
		if _, err := takeLock(context.Background(), name, func() {}); err != nil {
			os.Exit(1)
		}
		fmt.Println("held")
		// The test kills it, or has ended itself.
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}

	os.Exit(m.Run())
}

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct {
		args   string
		code   int
		stderr string
	}{
		{"", 2, "usage: cluster"},
		{"--help", 0, "usage: cluster"},
		{"up --help", 0, "usage: cluster"},
		{"--nonsense up", 2, "nonsense"},
		{"fly", 2, "usage: cluster"},
		{"up now", 2, "usage: cluster"},
		{"up --runtime crio", 2, "cluster: unknown runtime \"crio\": use one of debian, containerd2\n"},
		{"build --runtime=", 2, "unknown runtime"},
		{"status --runtime debian", 2, "runtime"},
		{"stop", 2, "usage: cluster"},
		{"start --kill etcd", 2, "kill"},
		{"load", 2, "usage: cluster"},
		{"status", 1, "not up"},
		{"load x.tar", 1, "is the cluster up?"},
		{"--dir /" + strings.Repeat("x", 100) + " up", 1, "bytes too long"},
	} {
		args := strings.Fields(test.args)
		if len(args) > 0 && args[0] != "--dir" {
			args = append([]string{"--dir", dir}, args...)
		}
		var stdout, stderr strings.Builder
		code := run(t.Context(), args, &stdout, &stderr)
		if code != test.code || !strings.Contains(stderr.String(), test.stderr) {
			t.Errorf("run(%q) = %d, %q, want %d, %q", test.args, code, stderr.String(), test.code, test.stderr)
		}
	}
}

func TestFindComponentKind(t *testing.T) {
	if _, err := findComponentKind("kubelet"); err != nil {
		t.Error(err)
	}
	if _, err := findComponentKind("dockerd"); err == nil || !strings.Contains(err.Error(), "kube-scheduler") {
		t.Errorf("findComponentKind(dockerd) = %v, want an error that names the others", err)
	}
}

func TestParseMounts(t *testing.T) {
	const text = `24 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
31 24 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
90 24 0:50 / /tmp/a\040b\134c rw shared:7 master:2 - overlay overlay rw
garbage
`
	got, want := parseMounts(text), []mount{{"/", "ext4"}, {"/sys/fs/cgroup/memory", "cgroup"}, {`/tmp/a b\c`, "overlay"}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("parseMounts() = %v, want %v", got, want)
	}
}

func TestConfigIsFilledIn(t *testing.T) {
	for _, r := range runtimes {
		c := &cluster{dir: t.TempDir()}
		if err := c.writeConfig(r); err != nil {
			t.Fatal(err)
		}
		if got := c.readRuntime(); got.name != r.name {
			t.Errorf("readRuntime() = %q, want %q", got.name, r.name)
		}

		for file, want := range map[string]string{
			"conf/containerd.toml":    c.dir + "/run/containerd.sock",
			"conf/cni/kdiag.conflist": podNet6,
			"conf/kubelet.yaml":       "cgroupRoot: /" + node,
		} {
			text, err := os.ReadFile(c.Path(file))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(text), want) || strings.Contains(string(text), "{{") {
				t.Errorf("%s: %s lacks %q, or has a gap:\n%s", r.name, file, want, text)
			}
		}
	}
}

func TestKubernetesVersionIsThatOfGoMod(t *testing.T) {
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	staging := strings.Replace(kubernetesVersion, "v1.", "v0.", 1)
	for _, want := range []string{"k8s.io/kubernetes " + kubernetesVersion + "\n", "k8s.io/kubectl => k8s.io/kubectl " + staging + "\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("go.mod lacks %q", want)
		}
	}
}

func TestMissingToolsAreNamedWithTheirPackage(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	c := &cluster{dir: t.TempDir()}
	for name, packages := range map[string][]string{
		"debian":      {"containerd", "runc", "apt-get install", "iproute2"},
		"containerd2": {"gcc", "pkg-config", "libseccomp-dev", "apt-get install", "iproute2"},
	} {
		r, err := findRuntime(name)
		if err != nil {
			t.Fatal(err)
		}

		err = c.checkTools(t.Context(), r)
		if err == nil {
			t.Fatal("checkTools() = nil with an empty PATH")
		}

		for _, want := range packages {
			if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("checkTools() for %s = %v, want one line with %q", name, err, want)
			}
		}
	}
}
