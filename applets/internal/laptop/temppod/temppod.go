// Package temppod makes pods that live no longer than a shell in them: a copy of a pod whose
// application does not run, and a pod that has the rights of its node. It says what it is going to
// make, makes it, and deletes it again.
package temppod

import (
	"crypto/rand"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// DefaultDeadline is how long a pod lives at most, if the user does not say.
const DefaultDeadline = time.Hour

// gracePeriod is how long the kubelet waits for the pod's processes to end, in seconds. Hold ends at
// once.
const gracePeriod = int64(2)

// installContainer and volumeName are the names of what brings kdiag into a copy.
const (
	installContainer = "kdiag-install"
	volumeName       = "kdiag"
)

// maxName bounds a pod's name: it is the host's, too (RFC 1123).
const maxName = 63

// newName returns a name for a pod, which begins with a word and has a random end. It is made here, so
// that the pod can be deleted by it whatever became of the answer to its creation.
func newName(kind, of string) string {
	const letters = "bcdfghjklmnpqrstvwxz2456789" // the API server's own: they spell no words
	var random [5]byte
	_, _ = rand.Read(random[:]) // never fails
	for i, b := range random {
		random[i] = letters[int(b)%len(letters)]
	}

	prefix, suffix := "kdiag-"+kind+"-", "-"+string(random[:])
	of = strings.ReplaceAll(of, ".", "-")
	of = of[:min(len(of), maxName-len(prefix)-len(suffix))]
	return prefix + strings.Trim(of, "-") + suffix
}

// Image is kdiag's own image.
type Image struct {
	Name       string
	PullPolicy corev1.PullPolicy
}

// seconds returns a duration in whole seconds, at least 1.
func seconds(d time.Duration) *int64 {
	s := max(int64((d+time.Second-1)/time.Second), 1)
	return &s
}
