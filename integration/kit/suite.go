package kit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"kdiag/integration/testenv"
)

// suite carries what every test of a run shares.
type suite struct {
	root       string // of the project
	kubeconfig string
	clusterDir string // the state of a cluster that "make cluster" started, or empty
	image      string
	home       string // of the user whose containers are used again

	mu         sync.Mutex
	namespaces []string // shared by tests
}

// current carries the run under way. RunSuite fills it in before the first test.
var current suite

// RunSuite runs the tests on the cluster that the environment names, and deletes
// the namespaces that they created. Without a cluster it skips all of them, or
// fails where that would hide a mistake.
func RunSuite(m *testing.M) (int, error) {
	s := &current
	s.kubeconfig, s.image = os.Getenv("KUBECONFIG"), os.Getenv("KDIAG_TEST_IMAGE")
	if s.kubeconfig == "" || s.image == "" {
		if testenv.RunsAll() {
			return 1, errors.New("no cluster: run make integration, or set KUBECONFIG and KDIAG_TEST_IMAGE")
		}
		fmt.Println("skipped: no cluster (run make integration)")
		return 0, nil
	}

	// The state directory has the command that started the cluster in it.
	dir := filepath.Dir(s.kubeconfig)
	if _, err := os.Stat(filepath.Join(dir, "bin", "cluster")); err == nil {
		s.clusterDir = dir
	}

	var err error
	if s.root, err = filepath.Abs(".."); err != nil {
		return 1, err
	}
	if s.home, err = os.MkdirTemp("", "kdiag-home"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(s.home)

	code := m.Run()

	for _, namespace := range s.namespaces {
		deleteNamespace(namespace)
	}

	return code, nil
}

// RequireOwnCluster skips a test on a cluster that "make cluster" did not start,
// whose nodes and logs are not on this machine. It says what the test needs.
func RequireOwnCluster(t testing.TB, need string) {
	t.Helper()
	if current.clusterDir == "" {
		t.Skip("needs the project's own cluster: " + need)
	}
}

// ClusterPath returns the path of a file of the cluster's state. The test must
// have called RequireOwnCluster.
func ClusterPath(name string) string { return filepath.Join(current.clusterDir, name) }

// RootPath returns the path of a file of the project.
func RootPath(name string) string { return filepath.Join(current.root, name) }

// BinaryPath returns the path of the tested binary.
func BinaryPath() string { return RootPath("bin/kubectl-kdiag") }

// KubeconfigPath returns the path of the kubeconfig of the cluster's admin.
func KubeconfigPath() string { return current.kubeconfig }

// ImageUnderTest returns the name of the image that holds the tested binary.
func ImageUnderTest() string { return current.image }

// HomePath returns the path of a file in the home directory of the user that the
// tests act as.
func HomePath(name string) string { return filepath.Join(current.home, name) }

// Environment returns the environment of the tested binary: that of this
// process, but for what kdiag keeps on disk.
func Environment(extra ...string) []string {
	own := []string{
		"KUBECONFIG=" + current.kubeconfig, "KDIAG_IMAGE=" + current.image,
		"HOME=" + current.home, "XDG_CONFIG_HOME=" + HomePath(".config"),
	}
	return append(append(os.Environ(), own...), extra...)
}

// CreateUser returns the environment of another user, who has no container
// anywhere yet.
func CreateUser(t *testing.T) []string {
	t.Helper()
	home := t.TempDir()
	return []string{"HOME=" + home, "XDG_CONFIG_HOME=" + home}
}

// CopyUser returns the environment of the tests' own user on another machine: it
// has their key, and nothing else of theirs.
func CopyUser(t *testing.T) []string {
	t.Helper()
	key, err := os.ReadFile(HomePath(".config/kdiag/key.pem"))
	if err != nil {
		t.Fatal(err)
	}

	home := t.TempDir()
	if err = os.Mkdir(filepath.Join(home, "kdiag"), 0o700); err == nil {
		err = os.WriteFile(filepath.Join(home, "kdiag", "key.pem"), key, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}

	return []string{"HOME=" + home, "XDG_CONFIG_HOME=" + home}
}
