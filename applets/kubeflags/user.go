package kubeflags

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/userkey"
	"kdiag/kube"
	"kdiag/mux"

	corev1 "k8s.io/api/core/v1"
)

// user is whose containers are used: by the public half of their key, which
// the containers' arguments have. It is read, or made, while the cluster is
// asked for the pod: the arithmetic takes a millisecond or two.
type user struct {
	read chan struct{} // closed when the rest is there
	mine ed25519.PrivateKey
	err  error
	// doubt is why the key is for this run only.
	doubt error
	notes io.Writer
}

func readUser(notes io.Writer) *user {
	u := &user{read: make(chan struct{}), notes: notes}
	go func() {
		defer close(u.read)
		var file string
		if file, u.doubt = keyFile(); u.doubt == nil {
			u.mine, u.doubt = userkey.Load(file)
		}
		if u.doubt != nil {
			u.mine, u.err = mux.NewKey()
		}
	}()

	return u
}

// key waits for the key. A user whose configuration directory cannot be
// written gets one for this run only, and is told so, once.
func (u *user) key() (ed25519.PrivateKey, error) {
	<-u.read
	if u.doubt != nil {
		applets.Note(u.notes, "a key for this run only, so its container is not found again: %v", u.doubt)
		u.doubt = nil
	}
	return u.mine, u.err
}

// find finds a pod that takes containers, with the key of the user whose
// container it is to have. It waits for both in any case: the file may be half
// made.
func (u *user) find(ctx context.Context, cluster *kube.Cluster, selection kube.Selection) (*corev1.Pod, ed25519.PrivateKey, error) {
	pod, err := cluster.FindPod(ctx, selection)
	key, keyErr := u.key()
	if err == nil {
		err = kube.TakesContainers(pod)
	}
	if err == nil {
		err = keyErr
	}
	return pod, key, timedOut(ctx, err)
}

// knownUser is the public half of the user's key, which is not made here.
func knownUser() (string, error) {
	file, err := keyFile()
	if err != nil {
		return "", nil //nolint:nilerr // no place for a key, so no key
	}
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}

	key, err := userkey.Load(file)
	if err != nil {
		return "", err
	}

	return mux.PublicText(key), nil
}

func keyFile() (string, error) {
	dir, err := os.UserConfigDir()
	return filepath.Join(dir, "kdiag", "key.pem"), err
}

// ledgerDir is where the record of this user's containers is kept; empty for
// nowhere.
func ledgerDir() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "kdiag", "pods")
}
