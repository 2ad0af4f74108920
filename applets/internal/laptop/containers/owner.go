package containers

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"kdiag/applets/internal/laptop/userkey"
	"kdiag/kube"
	"kdiag/mux"

	corev1 "k8s.io/api/core/v1"
)

// owner is the user whose containers are used: kdiag tells them from other
// people's by the public half of the user's key, and by a record of what it
// made. The key is read, or made, while the cluster is asked for the pod.
type owner struct {
	ledger *kube.Ledger

	read chan struct{} // closed when the rest is there
	key  ed25519.PrivateKey
	err  error
	// loadErr is why the key is for this run only.
	loadErr error
	notice  func(string)
	sayOnce sync.Once
}

// loadOwner begins to read the user's key.
func loadOwner(notice func(string)) *owner {
	o := &owner{ledger: kube.NewLedger(ledgerDirectory(), notice), read: make(chan struct{}), notice: notice}
	go func() {
		defer close(o.read)
		if o.key, o.loadErr = userkey.Load(); o.loadErr != nil {
			o.key, o.err = mux.NewKey()
		}
	}()

	return o
}

// waitForKey waits for the key, until ctx ends. A user whose configuration directory cannot be
// written gets one for this run only, and is told so, once.
func (o *owner) waitForKey(ctx context.Context) (ed25519.PrivateKey, error) {
	select {
	case <-o.read:
	case <-ctx.Done():
		return nil, fmt.Errorf("read your key file: %w", context.Cause(ctx))
	}

	if o.loadErr != nil {
		o.sayOnce.Do(func() {
			o.notice(fmt.Sprintf("using a key for this run only, so this container cannot be found again: %v", o.loadErr))
		})
	}
	return o.key, o.err
}

// oneRunIdleTimeout is how long a container outlives its session if no later run can find it. It
// leaves time for a slow link between the container's start and the session's.
const oneRunIdleTimeout = 10 * time.Second

// chooseIdleTimeout returns the idle timeout to ask for where the user wants one, or 0 for the
// default. A container whose key is for this run only is of no use to anybody afterwards. waitForKey
// must have returned.
func (o *owner) chooseIdleTimeout(wanted time.Duration) time.Duration {
	if wanted == 0 && o.loadErr != nil {
		return oneRunIdleTimeout
	}
	return wanted
}

// findPod finds a pod that takes containers, with the key of the user whose
// container it is to have. It waits for both in any case: the file may be half
// made.
func (o *owner) findPod(ctx context.Context, api API, selection kube.Selection) (foundPod, ed25519.PrivateKey, error) {
	pod, of, err := api.ChoosePod(ctx, selection)
	key, keyErr := o.waitForKey(ctx)
	if err == nil {
		err = kube.CheckTakesContainers(pod)
	}
	if err == nil {
		err = keyErr
	}

	return foundPod{pod, of}, key, AddTimeoutHint(ctx, err)
}

// foundPod is a pod, and of how many it was chosen; 0 if it was named.
type foundPod struct {
	pod *corev1.Pod
	of  int
}

// ledgerDirectory returns the directory in which kdiag records the containers that
// it made for this user; empty where there is no place for one.
func ledgerDirectory() string {
	directory, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(directory, "kdiag", "pods")
}
