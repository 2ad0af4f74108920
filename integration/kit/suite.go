package kit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// suite carries what every test of a run shares.
type suite struct {
	root       string // the project's root
	kubeconfig string
	image      string
	home       string // of the user whose containers are used again
	ownCluster bool   // it is the one that "make cluster" starts

	mu         sync.Mutex
	namespaces []string
}

// current is the run under way. runSuite sets it before the first test.
var current suite

// RunSuite runs the tests on the cluster that the environment names, and deletes
// the namespaces that they created. Without a cluster it skips all, or fails
// where that would hide a mistake.
func RunSuite(m *testing.M) (int, error) {
	s := &current
	s.kubeconfig, s.image = os.Getenv("KUBECONFIG"), os.Getenv("KDIAG_TEST_IMAGE")
	if s.kubeconfig == "" || s.image == "" {
		if mustRunAll() {
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

	s.ownCluster = strings.HasPrefix(s.kubeconfig, filepath.Join(s.root, ".cluster"))
	code := m.Run()
	for _, namespace := range s.namespaces {
		_, _ = TryKubectl(context.Background(), "", "delete", "namespace", namespace, "--wait=false")
	}

	return code, nil
}

// mustRunAll tells whether a test that cannot run must fail, as in CI.
func mustRunAll() bool { return os.Getenv("CI") != "" || os.Getenv("KDIAG_TEST_ALL") != "" }

// RequireOwnCluster skips a test on a cluster that "make cluster" did not start,
// and says why.
func RequireOwnCluster(t testing.TB, why string) {
	t.Helper()
	if !current.ownCluster {
		t.Skip(why + " in the project's own cluster only")
	}
}

// RootDir returns the root of the project.
func RootDir() string { return current.root }

// KubeconfigPath returns the path of the kubeconfig of the cluster's admin.
func KubeconfigPath() string { return current.kubeconfig }

// ImageUnderTest returns the image that holds the tested binary.
func ImageUnderTest() string { return current.image }

// HomeDir returns the home directory of the user that the tests act as.
func HomeDir() string { return current.home }

// BinaryPath returns the path of the tested binary.
func BinaryPath() string { return filepath.Join(current.root, "bin", "kubectl-kdiag") }

// Environment returns the environment of the tested binary: that of this
// process, but for what kdiag keeps on disk.
func Environment(extra ...string) []string {
	return append(append(os.Environ(), "KUBECONFIG="+current.kubeconfig, "KDIAG_IMAGE="+current.image,
		"HOME="+current.home, "XDG_CONFIG_HOME="+filepath.Join(current.home, ".config")), extra...)
}

// CreateUser is the environment of a user who has no container anywhere yet.
func CreateUser(t *testing.T) []string {
	home := t.TempDir()
	return []string{"HOME=" + home, "XDG_CONFIG_HOME=" + home}
}
