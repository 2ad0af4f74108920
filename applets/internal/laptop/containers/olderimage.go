package containers

import (
	"fmt"

	"kdiag/kube"
)

// OlderImageError reports a kdiag in the pod that is older than this one: it does not know what it is
// told.
type OlderImageError struct {
	doing, image string
	// said is its own error.
	said string
	err  error
}

// NewOlderImageError makes the error of an operation on the target, from what the kdiag in the pod said
// and how it exited.
func (s *Shell) NewOlderImageError(verb, said string, err error) *OlderImageError {
	return &OlderImageError{doing: verb + " " + s.target.String(), image: s.request.Image, said: said, err: err}
}

func (e *OlderImageError) Error() string {
	return fmt.Sprintf("%s: kdiag in image %s is older than this one: %s", e.doing, e.image, e.said)
}

func (e *OlderImageError) Unwrap() error { return e.err }

// Hint says where a newer one is.
func (e *OlderImageError) Hint() string { return kube.HintOlderImage }
